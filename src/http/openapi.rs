//! Serves `GET /openapi.yaml`: the description of the HTTP interface, for people and for programs. It does not
//! depend on the config.

use actix_web::{HttpResponse, http::header::CACHE_CONTROL};

pub(super) const PATH: &str = "/openapi.yaml";

const DOCUMENT: &str = include_str!("../../docs/reference/openapi.yaml");

pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/yaml")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(DOCUMENT)
}
