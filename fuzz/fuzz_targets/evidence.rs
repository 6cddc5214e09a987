//! Reports, quotes, logs, tokens, certificates: recognising, parsing, inspecting, replaying and
//! checking signatures end without a panic, in bounded memory; nothing made up is ever good.
#![no_main]

use guestsmith::format::snp_report;
use guestsmith::verify::evidence::{self, Piece};
use guestsmith::verify::inspect;
use guestsmith::verify::signature::{self, Means, Signed, Verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = inspect::inspect(bytes);
    match evidence::parse(bytes) {
        Ok(Piece::Evidence(all)) => {
            for one in all {
                let _ = evidence::replay(&one);
                judge(&one.signed, &Means::default());
            }
        }
        Ok(Piece::Certificates(given)) => {
            let mut report = vec![0; snp_report::SIZE];
            report[..1].fill(2);
            let signed = Signed::Snp { report, certificates: Vec::new() };
            judge(&signed, &Means { certificates: vec![given], ..Means::default() });
        }
        Ok(Piece::Log(_) | Piece::Tpm(_)) | Err(_) => {}
    }
});

fn judge(signed: &Signed, means: &Means) {
    assert_ne!(signature::check(signed, means).verdict, Verdict::Good);
}
