//! `GET /` and below: the files of `server.static_dir`, the demo page as delivered.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_files::Files;
use actix_web::{
    Error, ResponseError as _,
    body::{BodySize, BoxBody, MessageBody},
    dev::{HttpServiceFactory, ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY},
    },
    middleware::{Next, from_fn},
    web,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// The page may load its own files and read its own server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The page's folder, and how many of its files may be open at once.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) folder: PathBuf,
    pub(crate) open_files: Arc<Semaphore>,
}

pub(super) fn files(page: &Page) -> impl HttpServiceFactory + 'static {
    web::scope("")
        .app_data(web::Data::from(page.open_files.clone()))
        .wrap(from_fn(page_rules))
        .service(Files::new("/", &page.folder).index_file("index.html"))
}

/// A file on its way to a client: it is open until then.
struct OpenFile<B> {
    body: B,
    _permit: OwnedSemaphorePermit,
}

impl<B: MessageBody + Unpin> MessageBody for OpenFile<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<web::Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// What holds for every answer of the page: methods, paths, open files, headers.
async fn page_rules(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let problem = Problem::MethodNotAllowed("GET, HEAD");
        return Ok(request.into_response(problem.error_response()));
    }
    if request.path().split(['/', '\\']).any(|part| part == "..") {
        // It would stay within the folder, and be read as another path than the one asked for.
        return Ok(request.into_response(Problem::NotFound.error_response()));
    }
    let open_files = request.app_data::<web::Data<Semaphore>>().cloned();
    let open_files = open_files.expect("the page's scope has its semaphore");
    let Ok(permit) = open_files.into_inner().try_acquire_owned() else {
        return Ok(request.into_response(Problem::TooManyFiles.error_response()));
    };
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = response.map_body(|_, body| {
        BoxBody::new(OpenFile {
            body,
            _permit: permit,
        })
    });
    if matches!(
        response.status(),
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST
    ) {
        // A path out of the folder is 400 to actix-files; to the outside it is just not there.
        return Ok(response.into_response(Problem::NotFound.error_response()));
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
