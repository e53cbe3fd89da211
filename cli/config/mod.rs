//! Configuration files: text in, [`sam_router::config::Config`] out, or every mistake at once.
//!
//! ```text
//! file --yaml/toml--> Node --raw--> Document --lower--> Config
//!        syntax          shape        meaning
//! ```
//! Each stage reports into one list and carries on where it can. Only this folder knows how a file is written; the
//! rest of the program sees `Config`, which cannot hold an invalid combination.

mod discovery;
mod finding;
mod gate;
mod key_file;
mod lower;
mod node;
mod raw;
mod read;
mod render;
mod render_foreign;
mod report;
pub(crate) mod scalar;
mod scenario;
mod source;
mod toml;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sam_capture::NodeId;
use sam_router::config::Config;

pub use finding::Severity;
pub use render::render;
pub use report::{Diagnostic, Report};
pub use scenario::load_world;

use finding::Findings;
use node::Node;
use raw::{Document, FabricPart};
use read::{At, Read};
use source::{Sources, Span};

/// Whether key files are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// Open them, check their permissions and that the private key belongs to the node.
    Read,
    /// Leave them alone: a check on a machine that has no keys. The configuration then carries keys of zeros and
    /// must not be run.
    Skip,
}

/// A configuration that passed every check.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What to run.
    pub config: Config,
    /// Where its secrets came from; the configuration itself only holds their content.
    pub key_files: KeyFiles,
    /// What the operator should look at.
    pub warnings: Report,
}

/// Paths of the secrets of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// The private key.
    pub private_key: PathBuf,
    /// Preshared keys by peer.
    pub preshared_keys: BTreeMap<NodeId, PathBuf>,
    /// Where the keys of foreign neighbors came from, by name of the neighbor.
    pub neighbor_keys: BTreeMap<String, SecretSource>,
}

/// Where a secret came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

/// Reads and checks a configuration file, YAML or (by its ending) TOML.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path, secrets: Secrets) -> Result<Loaded, Report> {
    let mut loader = Loader::default();
    let loaded = loader.load(path, secrets);
    loader.conclude(loaded)
}

/// Checks a text as if it stood in a file at `path`, which gives the format and the place of included files.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_text(path: &Path, text: &str, secrets: Secrets) -> Result<Loaded, Report> {
    let mut loader = Loader::default();
    let file = loader.sources.add(path.to_path_buf(), text.to_owned());
    let loaded = loader.load_file(file, path, secrets);
    loader.conclude(loaded)
}

/// The files and findings of one run.
#[derive(Default)]
struct Loader {
    sources: Sources,
    findings: Findings,
}

impl Loader {
    fn load(&mut self, path: &Path, secrets: Secrets) -> Option<(Config, KeyFiles)> {
        match self.sources.read(path) {
            Ok(file) => self.load_file(file, path, secrets),
            Err(reason) => {
                let file = self.sources.add(path.to_path_buf(), String::new());
                self.findings.error(
                    Span {
                        file,
                        start: 0,
                        end: 0,
                    },
                    reason,
                );
                None
            }
        }
    }

    fn load_file(
        &mut self,
        file: usize,
        path: &Path,
        secrets: Secrets,
    ) -> Option<(Config, KeyFiles)> {
        let (root, document) = self.document(file)?;
        self.check_version(&document, &root);
        let (fabric_at, fabric) = self.fabric(path, &root, &document)?;
        let local = document.local.required(
            "self",
            root.span,
            "`self` says which of the nodes this router is; see configs/minimal.yaml",
            &mut self.findings,
        )?;
        let input = lower::Input {
            fabric: &fabric,
            fabric_at,
            local,
            path,
            secrets,
        };
        lower::lower(&input, &mut self.findings)
    }

    /// Parses one file and reads its outermost mapping.
    fn document(&mut self, file: usize) -> Option<(Node, Document)> {
        let source = self.sources.file(file);
        let is_toml = source
            .path
            .extension()
            .is_some_and(|ending| ending == "toml");
        let root = if source.text.trim().is_empty() {
            let span = Span {
                file,
                start: 0,
                end: 0,
            };
            self.findings
                .error(span, "the file is empty")
                .help("see configs/minimal.yaml");
            return None;
        } else if is_toml {
            toml::parse(&self.sources, file, &mut self.findings)?
        } else {
            yaml::parse(&self.sources, file, &mut self.findings)?
        };
        let document = Document::read(&root, "", &mut self.findings)?;
        let span = read::span_of(&root);
        Some((
            Node {
                span,
                value: root.value,
            },
            document,
        ))
    }

    fn check_version(&mut self, document: &Document, root: &Node) {
        let help = format!("write `version: {SCHEMA_VERSION}` as the first line");
        let version = document
            .version
            .required("version", root.span, &help, &mut self.findings);
        if let Some(version) = version.filter(|version| version.value != SCHEMA_VERSION) {
            self.findings
                .error(
                    version.span,
                    format!("version {} is not known", version.value),
                )
                .help(format!("this samctl reads version {SCHEMA_VERSION}"));
        }
    }

    /// Returns the fabric part and where it is, from this file or the included one.
    fn fabric(
        &mut self,
        path: &Path,
        root: &Node,
        document: &Document,
    ) -> Option<(Span, Box<raw::Fabric>)> {
        let include = match (document.include.given(), document.fabric.given()) {
            (Some(include), Some(fabric)) => {
                self.findings
                    .error(include.span, "both `include` and `fabric` are given")
                    .also(fabric.span, "the other one")
                    .help("keep the fabric in the included file only");
                return None;
            }
            (Some(include), None) => include,
            (
                None,
                Some(At {
                    value: FabricPart::Here(fabric),
                    span,
                }),
            ) => {
                return Some((*span, fabric.clone()));
            }
            (
                None,
                Some(At {
                    value: FabricPart::Include(include),
                    ..
                }),
            ) => include.include.given()?,
            (None, None) => {
                if document.fabric.is_absent() && document.include.is_absent() {
                    self.findings.error(root.span, "`fabric` is missing").help(
                        "describe the fabric here or write `include: fabric.yaml`; see configs/",
                    );
                }
                return None;
            }
        };
        let include = include.clone();
        self.included_fabric(&beside(path, &include.value), include.span)
    }

    fn included_fabric(&mut self, path: &Path, at: Span) -> Option<(Span, Box<raw::Fabric>)> {
        let file = match self.sources.read(path) {
            Ok(file) => file,
            Err(reason) => {
                self.findings
                    .error(at, reason)
                    .help("the path of an included file is relative to the file that includes it");
                return None;
            }
        };
        let (root, document) = self.document(file)?;
        self.check_version(&document, &root);
        if let Some(local) = document.local.given() {
            self.findings
                .error(local.span, "`self` does not belong into an included file")
                .help("the included file is identical on all routers; move `self` out of it");
        }
        match document.fabric.given() {
            Some(At {
                value: FabricPart::Here(fabric),
                span,
            }) => Some((*span, fabric.clone())),
            Some(At {
                value: FabricPart::Include(_),
                span,
            }) => {
                self.findings
                    .error(*span, "an included file cannot include another one");
                None
            }
            None => {
                if document.fabric.is_absent() {
                    self.findings
                        .error(root.span, "`fabric` is missing from the included file")
                        .help("it has `version` and `fabric`, as configs/fabric.yaml");
                }
                None
            }
        }
    }

    /// Turns what was found into the verdict.
    fn conclude(self, loaded: Option<(Config, KeyFiles)>) -> Result<Loaded, Report> {
        let has_errors = self.findings.has_errors();
        let report = Report::new(self.sources, self.findings);
        match loaded {
            Some((config, key_files)) if !has_errors => Ok(Loaded {
                config,
                key_files,
                warnings: report,
            }),
            Some(_) | None => Err(report),
        }
    }
}

/// A path that was written in `file`, made relative to the working directory.
pub(crate) fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent()
        .map_or_else(|| path.to_path_buf(), |folder| folder.join(path))
}

/// The version of the schema in [`raw`].
const SCHEMA_VERSION: u32 = 1;
