//! What the server answers, one file a resource: extract, ask, respond.

mod events;
mod health;
mod metrics;
mod page;
mod problem;
mod status;

use actix_cors::Cors;
use actix_web::{
    HttpResponse, Resource, Route,
    http::{Method, header::ALLOW},
    web,
};

use self::problem::Problem;
pub use self::{events::subscribe, metrics::metrics};
pub(crate) use self::{page::Page, status::Started};

const METHODS: &str = "GET, HEAD, OPTIONS";

/// What a listener serves.
#[derive(Debug, Clone)]
pub(crate) enum Resources {
    /// The stream. Without a page, the rest is served.
    Public {
        page: Option<Page>,
        /// Whether what is for those who look after the server is served, too.
        with_admin: bool,
    },
    /// What is for those who look after the server.
    Admin,
}

/// Adds the routes.
pub(crate) fn configure(app: &mut web::ServiceConfig, resources: &Resources) {
    app.service(resource("/healthz", || web::to(health::healthz)));
    if let Resources::Admin
    | Resources::Public {
        with_admin: true, ..
    } = resources
    {
        app.service(resource("/metrics", || web::to(metrics)))
            .service(resource("/status", || web::to(status::status)))
            .service(resource("/readyz", || web::to(health::readyz)));
    }
    if let Resources::Public { page, .. } = resources {
        app.service(resource(events::PATH, || web::to(subscribe)));
        if let Some(page) = page {
            app.service(page::files(page));
        }
    }
    app.default_service(web::to(async || -> Result<HttpResponse, Problem> {
        Err(Problem::NotFound)
    }));
}

/// A resource that answers GET and HEAD, and says so to any other method.
fn resource(path: &'static str, handler: impl Fn() -> Route) -> Resource {
    web::resource(path)
        .route(handler().method(Method::GET))
        .route(handler().method(Method::HEAD))
        .route(web::method(Method::OPTIONS).to(async || {
            HttpResponse::NoContent()
                .insert_header((ALLOW, METHODS))
                .finish()
        }))
        .default_service(web::to(async || -> Result<HttpResponse, Problem> {
            Err(Problem::MethodNotAllowed(METHODS))
        }))
}

/// Who may read answers from a page of another origin: those listed, without credentials.
pub(crate) fn cors(allowed_origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "OPTIONS"])
        .allow_any_header()
        .max_age(86_400)
        .block_on_origin_mismatch(false);
    if allowed_origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin().send_wildcard();
    }
    allowed_origins
        .iter()
        .fold(cors, |cors, origin| cors.allowed_origin(origin))
}
