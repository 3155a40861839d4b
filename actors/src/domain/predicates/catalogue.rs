//! The table of what is known. Each entry cites where its members are required.

use super::Known;
use super::need::{Is, Need, need};

/// Something around a predicate.
#[derive(Debug)]
pub(super) struct Wrapper {
    pub(super) name: &'static str,
    pub(super) marks: &'static [Need],
    pub(super) remedy: &'static str,
}

/// What is often sent in place of the predicate inside of it.
pub(super) static WRAPPERS: &[Wrapper] = &[
    // in-toto attestation spec v1, statement.md.
    Wrapper {
        name: "a whole in-toto statement",
        marks: &[
            need("_type", Is::Begins("https://in-toto.io/Statement/")),
            need("predicateType", Is::Text),
        ],
        remedy: "send its predicate alone, and its subject and predicateType beside it",
    },
    // DSSE envelope.md.
    Wrapper {
        name: "a signed DSSE envelope",
        marks: &[
            need("payload", Is::Text),
            need("payloadType", Is::Text),
            need("signatures", Is::Array),
        ],
        remedy: "send the predicate of the statement inside of it",
    },
];

/// SPDX 2.3 §6.1 (spdxVersion) and §6.3 (SPDXID); 2.2 has the same sections.
const SPDX_2: &[Need] = &[
    need("spdxVersion", Is::Begins("SPDX-2.")),
    need("SPDXID", Is::OneOf(&["SPDXRef-DOCUMENT"])),
];
/// SPDX 3.0.1, "Serialization in JSON-LD": the global context at the top level, maybe beside mappings of its own. Not
/// `@graph`: a document may also be one single element.
const SPDX_3: &[Need] = &[need("@context", Is::AnyBegins("https://spdx.org/rdf/3."))];
/// OpenVEX 0.2.0, "Document Struct Fields".
const OPENVEX: &[Need] = &[
    need("@context", Is::Begins("https://openvex.dev/ns")),
    need("statements", Is::Array),
];

const SBOMS: &[&str] = &["CycloneDX", "SPDX", "SPDX 2", "SPDX 3"];
const VEXES: &[&str] = &["OpenVEX", "CSAF", "CycloneDX"];

/// One of the platform's own, whose members its own components define: it is only not to be something else.
const fn own(
    name: &'static str,
    uri: &'static str,
    bare: &'static [&'static str],
    also: &'static [&'static str],
) -> Known {
    Known {
        name,
        uri,
        bare,
        shapes: &[],
        marks: &[],
        also,
    }
}

pub(super) static KNOWN: &[Known] = &[
    // in-toto attestation, predicates/cyclonedx.md; CycloneDX JSON schemas 1.2 to 1.7, "required".
    Known {
        name: "CycloneDX",
        uri: "https://cyclonedx.org/bom",
        bare: &["cyclonedx", "CycloneDX", "cyclonedx.org/bom"],
        shapes: &[&[
            need("bomFormat", Is::OneOf(&["CycloneDX"])),
            need("specVersion", Is::Version),
        ]],
        marks: &[need("bomFormat", Is::OneOf(&["CycloneDX"]))],
        also: &[],
    },
    // in-toto attestation, predicates/spdx2.md and spdx3.md: the bare URI is used for both.
    Known {
        name: "SPDX",
        uri: "https://spdx.dev/Document",
        bare: &["spdx", "SPDX", "spdxjson", "spdx.dev/Document"],
        shapes: &[SPDX_2, SPDX_3],
        marks: &[need("spdxVersion", Is::Begins("SPDX-"))],
        also: &["SPDX 3"],
    },
    Known {
        name: "SPDX 2",
        uri: "https://spdx.dev/Document/v2",
        bare: &[],
        shapes: &[SPDX_2],
        marks: &[],
        also: &["SPDX"],
    },
    Known {
        name: "SPDX 3",
        uri: "https://spdx.dev/Document/v3",
        bare: &[],
        shapes: &[SPDX_3],
        marks: &[need("@context", Is::AnyBegins("https://spdx.org/rdf/3."))],
        also: &[],
    },
    // OpenVEX, ATTESTING.md (predicateType).
    Known {
        name: "OpenVEX",
        uri: "https://openvex.dev/ns",
        bare: &["openvex", "OpenVEX", "openvex.dev/ns"],
        shapes: &[OPENVEX],
        marks: &[need("@context", Is::Begins("https://openvex.dev/ns"))],
        also: &[],
    },
    // CSAF 2.0 §3.2.1.3 (category) and §3.2.1.4 (csaf_version), and the same of 2.1. No predicate type is registered:
    // the place of its schema.
    Known {
        name: "CSAF",
        uri: "https://docs.oasis-open.org/csaf/csaf",
        bare: &["csaf", "CSAF", "csaf_vex"],
        shapes: &[&[
            need("document.category", Is::Text),
            need("document.csaf_version", Is::Begins("2.")),
        ]],
        marks: &[
            need("document", Is::Object),
            need("document.csaf_version", Is::Begins("2.")),
        ],
        also: &[],
    },
    // SLSA v1.0 to v1.2, build provenance: "REQUIRED for SLSA Build L1" of Provenance, BuildDefinition, RunDetails.
    Known {
        name: "SLSA provenance v1",
        uri: "https://slsa.dev/provenance/v1",
        bare: &["slsaprovenance1", "slsa.dev/provenance/v1"],
        shapes: &[&[
            need("buildDefinition", Is::Object),
            need("buildDefinition.buildType", Is::Text),
            need("runDetails", Is::Object),
            need("runDetails.builder", Is::Object),
        ]],
        marks: &[
            need("buildDefinition", Is::Object),
            need("runDetails", Is::Object),
        ],
        also: &[],
    },
    // SLSA v0.2, provenance, "Fields": builder, buildType.
    Known {
        name: "SLSA provenance v0.2",
        uri: "https://slsa.dev/provenance/v0.2",
        bare: &["slsaprovenance", "slsaprovenance02", "slsa.dev/provenance/v0.2"],
        shapes: &[&[need("builder", Is::Object), need("buildType", Is::Text)]],
        marks: &[need("builder", Is::Object), need("buildType", Is::Text)],
        also: &[],
    },
    // SLSA v1.0 to v1.2, verification summary attestation, "Fields".
    Known {
        name: "SLSA verification summary",
        uri: "https://slsa.dev/verification_summary/v1",
        bare: &["slsa.dev/verification_summary/v1"],
        shapes: &[&[
            need("verifier", Is::Object),
            need("verificationResult", Is::OneOf(&["PASSED", "FAILED"])),
        ]],
        marks: &[
            need("verifier", Is::Object),
            need("verificationResult", Is::OneOf(&["PASSED", "FAILED"])),
        ],
        also: &[],
    },
    // SARIF 2.1.0 §3.13.2 (version) and §3.13.4 (runs: null if a producer failed to fill it). No predicate type is
    // registered: the place of its schema.
    Known {
        name: "SARIF",
        uri: "https://docs.oasis-open.org/sarif/sarif/v2.1.0",
        bare: &["sarif", "SARIF"],
        shapes: &[&[
            need("version", Is::OneOf(&["2.1.0"])),
            need("runs", Is::ArrayOrNull),
        ]],
        marks: &[
            need("version", Is::OneOf(&["2.1.0"])),
            need("runs", Is::ArrayOrNull),
        ],
        also: &[],
    },
    // in-toto attestation, predicates/test-result.md, "Fields".
    Known {
        name: "in-toto test result",
        uri: "https://in-toto.io/attestation/test-result/v0.1",
        bare: &["test-result"],
        shapes: &[&[
            need("result", Is::OneOf(&["PASSED", "WARNED", "FAILED"])),
            need("configuration", Is::Array),
        ]],
        marks: &[
            need("result", Is::OneOf(&["PASSED", "WARNED", "FAILED"])),
            need("configuration", Is::Array),
        ],
        also: &[],
    },
    // cosign, COSIGN_VULN_ATTESTATION_SPEC.md: shows `invocation` without saying that it is required. What has none is
    // told from in-toto's by its result, which is an object here and a list there.
    Known {
        name: "cosign vulnerability scan record",
        uri: "https://cosign.sigstore.dev/attestation/vuln/v1",
        bare: &["vuln", "cosign.sigstore.dev/attestation/vuln/v1"],
        shapes: &[
            &[
                need("invocation", Is::Object),
                need("scanner", Is::Object),
                need("metadata", Is::Object),
            ],
            &[
                need("scanner", Is::Object),
                need("scanner.result", Is::NoArray),
                need("metadata", Is::Object),
            ],
        ],
        marks: &[
            need("invocation", Is::Object),
            need("scanner", Is::Object),
            need("metadata", Is::Object),
        ],
        also: &[],
    },
    // in-toto attestation, predicates/vulns_02.md and, for v0.1, vuln.md: "Fields".
    Known {
        name: "in-toto vulnerabilities",
        uri: "https://in-toto.io/attestation/vulns",
        bare: &["vulns"],
        shapes: &[&[
            need("scanner", Is::Object),
            need("scanner.result", Is::Array),
            need("metadata", Is::Object),
        ]],
        marks: &[
            need("scanner.result", Is::Array),
            need("metadata.scanFinishedOn", Is::Text),
        ],
        also: &[],
    },
    // docs/reference/predicates.md, "Promotion".
    Known {
        name: "StellaOps promotion",
        uri: "https://stella.ops/promotion@v1",
        bare: &["promotion", "promotion@v1", "stella.ops/promotion@v1"],
        shapes: &[&[
            need("promotion.from", Is::Text),
            need("promotion.to", Is::Text),
            need("materials", Is::Array),
        ]],
        marks: &[need("promotion", Is::Object), need("materials", Is::Array)],
        also: &[],
    },
    own(
        "StellaOps SBOM",
        "https://stella.ops/sbom@v1",
        &["sbom@v1", "stella.ops/sbom@v1"],
        SBOMS,
    ),
    own(
        "StellaOps VEX",
        "https://stella.ops/vex@v1",
        &["vex@v1", "stella.ops/vex@v1"],
        VEXES,
    ),
    own(
        "StellaOps VEX decision",
        "https://stella.ops/vexDecision@v1",
        &["vexDecision@v1", "stella.ops/vexDecision@v1"],
        VEXES,
    ),
    own(
        "StellaOps graph",
        "https://stella.ops/graph@v1",
        &["graph@v1", "stella.ops/graph@v1"],
        &[],
    ),
    own(
        "StellaOps replay",
        "https://stella.ops/replay@v1",
        &["replay@v1", "stella.ops/replay@v1"],
        &[],
    ),
    own(
        "StellaOps policy",
        "https://stella.ops/policy@v1",
        &["policy@v1", "stella.ops/policy@v1"],
        &[],
    ),
    own(
        "StellaOps evidence",
        "https://stella.ops/evidence@v1",
        &["evidence@v1", "stella.ops/evidence@v1"],
        &[],
    ),
];
