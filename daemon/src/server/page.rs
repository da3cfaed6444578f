//! The web page: its files, embedded in the binary, and the headers that restrict the browser to them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use super::http;

/// Declares the files under `daemon/page` that are served, by their path.
macro_rules! files {
    ($($path:literal)*) => {
        /// Every file that is served, with its content.
        const FILES: &[(&str, &[u8])] = &[
            $(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/page/", $path))),)*
        ];
    };
}

files! {
    "index.html"
    "icon.svg"
    "now.css"
    "parts.css"
    "phone.css"
    "style.css"
    "timeline.css"
    "views.css"
    "client/address.js"
    "client/api.js"
    "client/backoff.js"
    "client/clock.js"
    "client/index.js"
    "client/protocol.js"
    "client/publisher.js"
    "client/session.js"
    "client/statistics.js"
    "client/subscription.js"
    "client/words.js"
    "app/announcer.js"
    "app/confirmation.js"
    "app/dom.js"
    "app/exports.js"
    "app/fullscreen.js"
    "app/keys.js"
    "app/main.js"
    "app/palette.js"
    "app/playing.js"
    "app/settings.js"
    "app/shell.js"
    "app/store.js"
    "app/swatch.js"
    "app/undo.js"
    "app/wake.js"
    "app/audio/capture.js"
    "app/audio/file.js"
    "app/audio/left.js"
    "app/audio/listening.js"
    "app/audio/pcm.js"
    "app/audio/player.js"
    "app/audio/worklet.js"
    "app/texts/en.js"
    "app/texts/index.js"
    "app/texts/ru.js"
    "app/timeline/camera.js"
    "app/timeline/draw.js"
    "app/timeline/input.js"
    "app/timeline/lanes.js"
    "app/timeline/model.js"
    "app/timeline/overview.js"
    "app/timeline/panel.js"
    "app/views/health.js"
    "app/views/listen.js"
    "app/views/login.js"
    "app/views/merge.js"
    "app/views/now.js"
    "app/views/sessions.js"
    "app/views/speakers.js"
    "app/views/split.js"
    "app/views/timeline.js"
    "app/views/turns.js"
    "app/views/voices.js"
}

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
    content: &'static [u8],
    content_type: &'static str,
    etag: HeaderValue,
}

static ASSETS: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| {
    let asset = |&(path, content): &(&'static str, &'static [u8])| {
        // The tag must change with the content; a forged one gains nothing.
        let mut hasher = DefaultHasher::new();
        hasher.write(content);
        let etag = HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish()));
        let etag = etag.expect("hexadecimal digits in quotes are a header value");
        (path, Asset { content, content_type: content_type(path), etag })
    };
    FILES.iter().map(asset).collect()
});

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
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
    (caching, [(header::CONTENT_TYPE, asset.content_type)], asset.content).into_response()
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

    /// Files of the folder that are served, which is all but the package's own and the types.
    fn on_disk(folder: &std::path::Path, under: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{under}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                on_disk(&entry.path(), &format!("{path}/"), found);
            } else if content_type(&path) != "application/octet-stream" {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_page_is_in_the_binary() {
        let mut found = Vec::new();
        on_disk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page"), "", &mut found);
        found.sort();
        let mut held: Vec<_> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        held.sort();
        assert_eq!(found, held);
    }

    #[test]
    fn every_file_that_the_page_imports_is_there() {
        for (path, content) in FILES.iter().filter(|(path, _)| path.ends_with(".js")) {
            let text = std::str::from_utf8(content).unwrap();
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
