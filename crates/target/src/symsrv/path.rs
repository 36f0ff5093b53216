//! The symbol path: what a string with `;` and `*` means.
//!
//! *Example*: `cache*/c;srv*/a*http://s` looks into /c, then /a, then asks http://s and keeps what it sends in /a.
//!
//! *Trap*: `symsrv*symsrv.dll*…` is the old form of `srv*…`; the name of the library is no folder.

use crate::options::Options;
use std::path::{Path, PathBuf};

/// Elements of one path that are read.
const MAX_ELEMENTS: usize = 64;

/// A server, and where what it sends is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) cache: Option<PathBuf>,
}

/// Folders and servers in the order in which they are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SymbolPath {
    folders: Vec<PathBuf>,
    servers: Vec<Server>,
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)))
}

impl SymbolPath {
    pub(crate) fn parse(options: &Options) -> Self {
        let mut path = Self::default();
        let mut cache: Option<PathBuf> = None;
        let text = options.symbol_path.as_deref().unwrap_or_default();
        for element in text.split(';').map(str::trim).filter(|element| !element.is_empty()).take(MAX_ELEMENTS) {
            let parts: Vec<&str> = element.split('*').map(str::trim).collect();
            let first = parts.first().copied().unwrap_or_default().to_ascii_lowercase();
            let rest = match first.as_str() {
                "srv" => parts.get(1..),
                "symsrv" => parts.get(2..),
                "cache" => {
                    let folder = parts.get(1).filter(|folder| !folder.is_empty()).map(PathBuf::from);
                    cache = folder.or_else(|| options.symbol_cache.clone());
                    path.folders.extend(cache.clone());
                    continue;
                }
                _ => parts.get(..),
            };
            let rest: Vec<&str> = rest.unwrap_or_default().iter().copied().filter(|part| !part.is_empty()).collect();
            let folders: Vec<PathBuf> = rest.iter().filter(|part| !is_url(part)).map(PathBuf::from).collect();
            let keep = folders.first().cloned().or_else(|| cache.clone()).or_else(|| options.symbol_cache.clone());
            for url in rest.iter().filter(|part| is_url(part)) {
                path.folders.extend(keep.clone());
                path.servers.push(Server { url: url.trim_end_matches('/').to_owned(), cache: keep.clone() });
            }
            path.folders.extend(folders);
        }
        let mut seen = std::collections::HashSet::new();
        path.folders.retain(|folder| seen.insert(folder.clone()));
        path
    }

    /// Folders that files are looked for in.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(PathBuf::as_path)
    }

    /// Servers to ask.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<String>, Vec<(String, Option<String>)>) {
        let options = Options {
            symbol_path: Some(text.to_owned()),
            symbol_cache: Some(PathBuf::from("/default")),
            ..Options::default()
        };
        let path = SymbolPath::parse(&options);
        let text = |path: &Path| path.display().to_string();
        (
            path.folders().map(text).collect(),
            path.servers().map(|server| (server.url.clone(), server.cache.as_deref().map(text))).collect(),
        )
    }

    #[test]
    fn elements_and_their_order() {
        let (folders, servers) = parse("/build; srv*/a*/b*http://s/ ;SRV*https://t;symsrv*symsrv.dll*/c*http://u");
        assert_eq!(folders, ["/build", "/a", "/b", "/default", "/c"]);
        let servers: Vec<_> = servers.iter().map(|(url, cache)| (url.as_str(), cache.as_deref())).collect();
        assert_eq!(servers, [("http://s", Some("/a")), ("https://t", Some("/default")), ("http://u", Some("/c"))]);
        let (folders, servers) = parse("cache*/k;srv*http://s");
        assert_eq!((folders, servers), (vec!["/k".to_owned()], vec![("http://s".to_owned(), Some("/k".to_owned()))]));
        assert_eq!(parse(";;*;srv*;cache*"), (vec!["/default".to_owned()], vec![]));
    }
}
