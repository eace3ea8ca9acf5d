//! The routes of each listener, their methods, and CORS. Also responds to paths without a route (404) and to
//! unsupported methods (405).

use actix_cors::Cors;
use actix_web::{
    HttpResponse, Resource, Route,
    http::{
        Method,
        header::{ALLOW, HeaderValue},
    },
    web,
};

use super::{
    events::{self, subscribe},
    health, metadata,
    metrics::metrics,
    openapi,
    origins::Origins,
    page::{self, Page},
    problem::Problem,
    publish, revocations, status, subscriptions, topics,
};
use crate::matching::HubUrl;

/// Values of the header `Allow`: for most resources, for `/events/sse`, for `/revocations`, and for the hub's
/// path.
const READ: &str = "GET, HEAD, OPTIONS";
const SUBSCRIBE: &str = "GET, HEAD, QUERY, OPTIONS";
const REVOCATIONS: &str = "GET, HEAD, POST, DELETE, OPTIONS";
const HUB: &str = "GET, HEAD, QUERY, POST, OPTIONS";

/// The resources that a listener serves.
#[derive(Debug, Clone)]
pub(crate) enum Resources {
    /// What clients use: streams, publishing, the metadata of the hub, `/openapi.yaml`, and `/healthz`. Also
    /// the static files of `page`, unless it is `None`.
    Public {
        page: Option<Page>,
        /// Whether this listener also serves `/metrics`, `/status` and `/readyz`, the resources for
        /// operators.
        with_admin: bool,
        /// Whether the lists of active subscriptions are served.
        with_subscriptions: bool,
    },
    /// Only `/healthz` and the resources for operators: `/metrics`, `/status` and `/readyz`, and `/revocations`,
    /// which no other listener serves.
    Admin,
}

/// Adds the routes of a listener:
///
/// - always `/healthz`;
/// - for operators: `/metrics`, `/status` and `/readyz`;
/// - on the listener for operators only: `/revocations`;
/// - for clients: `/events/sse`, the hub's path, the hub's metadata
///   (`/.well-known/oauth-protected-resource` followed by the hub's path), and `/openapi.yaml`;
/// - for clients, if `resources` includes them: the active subscriptions below the hub's path, and the static
///   files at `/`.
///
/// Any other path returns 404. If static files are served, it returns 405 for other methods than GET and
/// HEAD.
pub(crate) fn configure(app: &mut web::ServiceConfig, resources: &Resources, hub: &HubUrl) {
    app.service(read("/healthz", || web::to(health::healthz)));
    if let Resources::Admin
    | Resources::Public {
        with_admin: true, ..
    } = resources
    {
        app.service(read("/metrics", || web::to(metrics)))
            .service(read("/status", || web::to(status::status)))
            .service(read("/readyz", || web::to(health::readyz)));
    }
    if let Resources::Admin = resources {
        app.service(
            resource(revocations::PATH, REVOCATIONS, || {
                web::to(revocations::list)
            })
            .route(web::post().to(revocations::revoke))
            .route(web::delete().to(revocations::lift)),
        );
    }
    if let Resources::Public {
        page,
        with_subscriptions,
        ..
    } = resources
    {
        let streams = || web::to(subscribe);
        app.service(
            resource(events::PATH, SUBSCRIBE, streams)
                .route(web::method(topics::query()).to(subscribe)),
        );
        let streams = || web::to(events::subscribe_to_topics);
        app.service(
            resource(hub.path(), HUB, streams)
                .route(web::method(topics::query()).to(events::subscribe_to_topics))
                .route(web::post().to(publish::publish)),
        );
        if *with_subscriptions {
            for path in subscriptions::paths(hub) {
                app.service(read(&path, || web::to(subscriptions::subscriptions)));
            }
        }
        app.service(read(&metadata::path(hub), || web::to(metadata::metadata)))
            .service(read(openapi::PATH, || web::to(openapi::openapi)));
        if let Some(page) = page {
            app.service(page::files(page));
        }
    }
    app.default_service(web::to(async || -> Result<HttpResponse, Problem> {
        Err(Problem::NotFound)
    }));
}

fn read(path: &str, handler: impl Fn() -> Route) -> Resource {
    resource(path, READ, handler)
}

/// A resource that answers GET, HEAD and OPTIONS. Any other method receives 405, unless the caller adds a
/// route for it. `methods` is the value of the header `Allow`.
fn resource(path: &str, methods: &'static str, handler: impl Fn() -> Route) -> Resource {
    web::resource(path)
        .route(handler().method(Method::GET))
        .route(handler().method(Method::HEAD))
        .route(web::method(Method::OPTIONS).to(move || async move {
            HttpResponse::NoContent()
                .insert_header((ALLOW, methods))
                .finish()
        }))
        .default_service(web::to(move || async move {
            Err::<HttpResponse, _>(Problem::MethodNotAllowed(methods))
        }))
}

/// CORS for pages of other origins: the listed origins are allowed with credentials, `*` allows all origins
/// without credentials. With `legacy`, pages may also read the header `Last-Event-ID`, the older name of
/// `Mercure-Last-Event-ID`.
pub(crate) fn cors(allowed_origins: &[String], legacy: bool) -> Cors {
    let exposed = [
        "Idempotent-Replayed",
        "Link",
        "Mercure-Last-Event-ID",
        "Preference-Applied",
        "Retry-After",
        "WWW-Authenticate",
    ];
    let exposed = exposed.into_iter().chain(legacy.then_some("Last-Event-ID"));
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "QUERY", "POST", "OPTIONS"])
        .allow_any_header()
        .expose_headers(exposed)
        .max_age(86_400)
        .block_on_origin_mismatch(false);
    if allowed_origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin().send_wildcard();
    }
    let origins = Origins::new(allowed_origins);
    let is_allowed =
        move |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| origins.contains(origin));
    cors.allowed_origin_fn(move |origin, _| is_allowed(origin))
        .supports_credentials()
}
