//! `[grpc]`: the services for clients that speak gRPC.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::reader::Reader;

/// `[grpc]`: gRPC with the tokens, certificate and limits of `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcConfig {
    /// Addresses to listen on, port 0 takes a free one; none serve it not. Default none.
    pub listen: Vec<SocketAddr>,
    /// What answers the service of ECAPA-TDNN; `None` is nothing. Default `None`.
    pub ecapa: Option<GrpcModel>,
    /// What answers the service of the large model; `None` is nothing. Default `None`.
    pub large: Option<GrpcModel>,
}

/// A model that answers a service of embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrpcModel {
    /// The one that labels (`model.path`).
    Same,
    /// The one in this folder.
    Folder(PathBuf),
}

impl fmt::Display for GrpcModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str(SAME),
            Self::Folder(path) => path.display().fmt(f),
        }
    }
}

/// The word for the model that labels.
const SAME: &str = "same";

impl GrpcConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self {
            listen: r.list_or_none(
                "grpc.listen",
                "IP:PORT such as \"127.0.0.1:7008\" or \"[::]:7008\", or a list of them",
                |text| text.parse().ok(),
            ),
            ecapa: model(r, "grpc.ecapa"),
            large: model(r, "grpc.large"),
        }
    }
}

fn model(r: &mut Reader, key: &'static str) -> Option<GrpcModel> {
    r.path_or_word(key, SAME).map(|path| path.map_or(GrpcModel::Same, GrpcModel::Folder))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Sources;

    #[test]
    fn a_model_is_a_folder_beside_the_file_or_a_word() {
        let text = "[grpc]\nlisten = \"127.0.0.1:0\"\necapa = \"ecapa\"\nlarge = \"same\"\n";
        let loaded = Sources::new().file_text(Path::new("/etc/d/a.toml"), text).load().unwrap();
        let grpc = &loaded.config.grpc;
        assert_eq!(grpc.listen, ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(grpc.ecapa, Some(GrpcModel::Folder("/etc/d/ecapa".into())));
        assert_eq!(grpc.large, Some(GrpcModel::Same));
        let again = Sources::new().file_text(Path::new("/x/b.toml"), &loaded.to_toml()).load().unwrap();
        assert_eq!(&again.config.grpc, grpc);
        assert_eq!(crate::Config::default().grpc, GrpcConfig { listen: vec![], ecapa: None, large: None });
    }
}
