//! Serves the files of `server.static_dir` at `/` and below: by default, the demo page. Each request holds a
//! permit while its file is open.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use actix_files::Files;
use actix_web::{
    Error, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{HttpServiceFactory, ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY},
    },
    middleware::{Next, from_fn},
    web,
};
use tokio::sync::Semaphore;

use super::{permitted::WithPermit, problem::Problem};

/// The file that is served for the URL of a folder.
const INDEX: &str = "index.html";

/// How static files are served.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) folder: PathBuf,
    /// The header Content-Security-Policy of the files; `None`: they have no such header.
    pub(crate) policy: Option<HeaderValue>,
    pub(crate) open_files: Arc<Semaphore>,
}

pub(super) fn files(page: &Page) -> impl HttpServiceFactory + 'static {
    let folder = page.folder.clone();
    let files = Files::new("/", &page.folder)
        .index_file(INDEX)
        .path_filter(move |path, _| can_be_served(&folder, path));
    let policy = page.policy.clone();
    web::scope("")
        .app_data(web::Data::from(page.open_files.clone()))
        .wrap(from_fn(move |request, next| {
            page_rules(request, next, policy.clone())
        }))
        .service(files)
}

/// Returns whether this path leads to a regular file inside `folder`, or to a folder in it whose index file,
/// if any, is such a file. Other paths are refused. A symbolic link may lead out of the folder, opening a
/// FIFO would block the worker thread, and a device may never end.
fn can_be_served(folder: &Path, path: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let real = |path: PathBuf| {
        let path = path.canonicalize().ok()?;
        path.starts_with(&folder).then_some(path)
    };
    match real(folder.join(path)) {
        Some(path) if path.is_dir() => {
            let index = path.join(INDEX);
            // If the folder has no index file, actix-files responds with 404.
            index.symlink_metadata().is_err() || real(index).is_some_and(|index| index.is_file())
        }
        Some(path) => path.is_file(),
        None => false,
    }
}

/// Middleware that applies the rules for all static files: allowed methods and paths, the limit on open
/// files, headers.
async fn page_rules(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    policy: Option<HeaderValue>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let problem = Problem::MethodNotAllowed("GET, HEAD");
        return Ok(request.into_response(problem.error_response()));
    }
    if request.path().split(['/', '\\']).any(|part| part == "..") {
        // actix-files resolves `..` without leaving the folder, so it would serve a file at another path than
        // the requested one.
        return Ok(request.into_response(Problem::NotFound.error_response()));
    }
    let open_files = request.app_data::<web::Data<Semaphore>>().cloned();
    let open_files = open_files.expect("the page's scope has its semaphore");
    let Ok(permit) = open_files.into_inner().try_acquire_owned() else {
        return Ok(request.into_response(Problem::TooManyFiles.error_response()));
    };
    let response = next.call(request).await?.map_into_boxed_body();
    // The file is open until the response is sent, so the permit is released only with the response body.
    let mut response = response.map_body(|_, body| BoxBody::new(WithPermit::new(body, permit)));
    if matches!(
        response.status(),
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST
    ) {
        // actix-files responds with 400 to a path that it does not allow, such as the path of a hidden file.
        // Respond as if there were no such file.
        return Ok(response.into_response(Problem::NotFound.error_response()));
    }
    let headers = response.headers_mut();
    if let Some(policy) = policy {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
