//! Any text is a configuration or a list of mistakes, each with its place; what is accepted can be written down and
//! read again with the same meaning.
#![no_main]

use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use samctl::config::{Secrets, check_text, render};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    // Other files are not ours to open.
    if text.contains("include") {
        return Corpus::Reject;
    }
    for name in ["fuzz.yaml", "fuzz.toml"] {
        match check_text(Path::new(name), text, Secrets::Skip) {
            Ok(loaded) => {
                let written = render(&loaded);
                let again = check_text(Path::new("again.yaml"), &written, Secrets::Skip)
                    .unwrap_or_else(|report| panic!("{written}\n{:?}", report.diagnostics()));
                assert_eq!(again.config, loaded.config);
            }
            Err(report) => assert!(!report.diagnostics().is_empty()),
        }
    }
    Corpus::Keep
});
