//! The web page: its files, embedded in the binary, and the headers that restrict the browser to them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use rust_embed::RustEmbed;

use super::http;

/// The folder of the page, in debug builds, too.
#[derive(RustEmbed)]
#[folder = "page"]
struct Files;

/// Sent with every answer of the server. The page may run its own files and talk to its own server, nothing else;
/// no other page may hold it in a frame, and text is never taken for a script or for markup.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         media-src blob:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "microphone=(self), camera=(), geolocation=(), payment=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// One file as it is served.
struct Asset {
    content: Cow<'static, [u8]>,
    content_type: &'static str,
    etag: HeaderValue,
}

/// Every file that is served, by its path.
static ASSETS: LazyLock<HashMap<Cow<'static, str>, Asset>> = LazyLock::new(|| {
    let asset = |path: Cow<'static, str>| {
        let (content_type, file) = (content_type(&path)?, Files::get(&path)?);
        let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..8]));
        let etag = HeaderValue::try_from(etag).expect("hexadecimal digits in quotes are a header value");
        Some((path, Asset { content: file.data, content_type, etag }))
    };
    Files::iter().filter_map(asset).collect()
});

/// Type of a file of the page; `None` for what the folder holds beside it: descriptions and types of the package.
fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// The page itself.
pub(super) async fn index(headers: HeaderMap, uri: Uri) -> Response {
    serve("index.html", &headers, uri).await
}

/// A file of the page.
pub(super) async fn file(Path(path): Path<String>, headers: HeaderMap, uri: Uri) -> Response {
    serve(&path, &headers, uri).await
}

async fn serve(path: &str, headers: &HeaderMap, uri: Uri) -> Response {
    let Some(asset) = ASSETS.get(path) else { return http::not_found(uri).await };
    // A browser revalidates every time with a short answer, so that a new daemon never serves an old page.
    let caching =
        [(header::ETAG, asset.etag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if is_held(headers, &asset.etag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, asset.content_type)], asset.content.clone()).into_response()
}

/// Whether the request declares this version as cached.
fn is_held(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let held = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    held.flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag)
}

/// Adds the headers that keep browsers in bounds.
pub(super) async fn keep_in_bounds(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_served_and_what_describes_its_package_is_not() {
        for path in ["index.html", "icon.svg", "style.css", "app/main.js", "client/index.js"] {
            let on_disk =
                std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page").join(path));
            assert_eq!(ASSETS[path].content, on_disk.unwrap(), "{path}");
        }
        for path in ["README.md", "package.json", "client/index.d.ts"] {
            assert!(Files::get(path).is_some() && !ASSETS.contains_key(path), "{path}");
        }
    }

    #[test]
    fn every_file_that_the_page_imports_is_there() {
        for (path, asset) in ASSETS.iter().filter(|(path, _)| path.ends_with(".js")) {
            let text = std::str::from_utf8(&asset.content).unwrap();
            let folder: Vec<&str> = path.split('/').collect();
            for (_, rest) in text.match_indices(" from \".").map(|(at, m)| (at, &text[at + m.len() - 1..])) {
                let mut target = folder[..folder.len() - 1].to_vec();
                for part in rest.split('"').next().unwrap().split('/') {
                    match part {
                        "." => {}
                        ".." => drop(target.pop()),
                        part => target.push(part),
                    }
                }
                assert!(ASSETS.contains_key(target.join("/").as_str()), "{path} imports {target:?}");
            }
        }
    }

    #[test]
    fn a_held_version_is_known_by_its_tag() {
        let etag = HeaderValue::from_static("\"ab\"");
        let asks = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            is_held(&headers, &etag)
        };
        assert!(asks("\"ab\"") && asks("W/\"ab\"") && asks("\"cd\", \"ab\""));
        assert!(!asks("\"cd\"") && !asks("ab") && !is_held(&HeaderMap::new(), &etag));
    }
}
