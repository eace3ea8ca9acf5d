//! `GET /` and below: the files of `server.static_dir`, the demo page as delivered.

use std::path::Path;

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

use super::problem::Problem;

/// The page may load its own files and read its own server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) fn files(folder: &Path) -> impl HttpServiceFactory + 'static {
    web::scope("")
        .wrap(from_fn(page_headers))
        .service(Files::new("/", folder).index_file("index.html"))
}

async fn page_headers(
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
    let mut response = next.call(request).await?.map_into_boxed_body();
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
