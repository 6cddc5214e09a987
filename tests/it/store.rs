//! Fetching into the store from servers that misbehave, from several processes, into stores that
//! cannot be written.

use std::fs;
use std::path::Path;
use std::time::Duration;

use guestsmith::digest::Sha256;
use guestsmith::store::http::Client;
use guestsmith::store::location::Location;
use guestsmith::store::{Expected, Store};

use super::server::{Fault, Server};

/// A file of a megabyte that no two places of look alike.
fn contents() -> Vec<u8> {
    (0..1u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn expected(bytes: &[u8]) -> Expected {
    Expected { sha256: Sha256::of(bytes), size: u64::try_from(bytes.len()).expect("small") }
}

struct Setting {
    dir: tempfile::TempDir,
    store: Store,
    contents: Vec<u8>,
}

fn setting() -> Setting {
    let dir = tempfile::tempdir().expect("a directory");
    let contents = contents();
    fs::create_dir(dir.path().join("served")).expect("made");
    fs::write(dir.path().join("served/file"), &contents).expect("written");
    let store = Store::open(&dir.path().join("store")).expect("a store");
    Setting { dir, store, contents }
}

impl Setting {
    fn served(&self) -> &Path {
        self.dir.path()
    }

    fn place(&self, server: &Server) -> Location {
        let _ = self;
        Location::parse(server.address()).expect("an address").join("file")
    }

    fn server(&self, fault: Fault) -> Server {
        Server::new(self.served().join("served"), fault)
    }

    fn fetch(&self, places: &[Location]) -> Result<(), String> {
        let fetched =
            Client::new(false).fetch(&self.store, expected(&self.contents), places, &|_| {});
        fetched.map_err(|error| format!("{error:#}"))
    }

    fn check(&self) {
        let found = self.store.need(&Sha256::of(&self.contents)).expect("there");
        assert!(found == self.contents);
    }
}

#[test]
fn a_sound_server_is_asked_once() {
    let setting = setting();
    let server = setting.server(Fault::None);
    setting.fetch(&[setting.place(&server)]).expect("fetched");
    setting.fetch(&[setting.place(&server)]).expect("there already");
    assert_eq!(server.requests(), ["/file -"]);
    setting.check();
}

#[test]
fn a_transfer_that_ends_early_goes_on_where_it_ended() {
    let setting = setting();
    let server = setting.server(Fault::EndsAfter(300_000));
    setting.fetch(&[setting.place(&server)]).expect("fetched");
    let requests = server.requests();
    assert_eq!(requests, ["/file -", "/file 300000", "/file 600000", "/file 900000"]);
    setting.check();
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let setting = setting();
    let server = setting.server(Fault::NoRanges(300_000));
    setting.fetch(&[setting.place(&server)]).expect("fetched");
    setting.check();
}

#[test]
fn an_answer_to_another_range_is_not_taken() {
    let setting = setting();
    let server = setting.server(Fault::WrongRange);
    setting.fetch(&[setting.place(&server)]).expect("fetched");
    setting.check();
}

#[test]
fn a_busy_server_is_asked_again() {
    let setting = setting();
    let server = setting.server(Fault::Busy(2));
    setting.fetch(&[setting.place(&server)]).expect("fetched");
    assert_eq!(server.requests().len(), 3);
    setting.check();
}

#[test]
fn a_server_that_stays_busy_is_given_up_and_the_next_one_asked() {
    let setting = setting();
    let (busy, sound) = (setting.server(Fault::Busy(usize::MAX)), setting.server(Fault::None));
    let error = setting.fetch(&[setting.place(&busy)]).expect_err("refused");
    assert!(error.contains("the server answered 503"), "{error}");
    setting.fetch(&[setting.place(&busy), setting.place(&sound)]).expect("fetched");
    setting.check();
}

#[test]
fn every_place_is_named_with_what_is_wrong_with_it() {
    let setting = setting();
    fs::write(setting.served().join("served/altered"), [&setting.contents[1..], b"x"].concat())
        .expect("written");
    fs::write(setting.served().join("served/longer"), [&setting.contents[..], b"x"].concat())
        .expect("written");
    fs::write(setting.served().join("served/short"), b"short").expect("written");
    let server = setting.server(Fault::None);
    let place = |name: &str| Location::parse(server.address()).expect("an address").join(name);
    let nobody = Location::parse("http://127.0.0.1:1").expect("an address").join("file");
    let local = Location::parse("/nonexistent").expect("a path").join("file");
    let places = [place("none"), place("altered"), place("longer"), place("short"), nobody, local];
    let error = setting.fetch(&places).expect_err("refused");
    for why in [
        "/none: the server answered 404",
        "/altered: its SHA-256 is ",
        "/longer: it is longer than the 1048576 bytes expected",
        "/short: it ends after 5 of 1048576 bytes",
        "http://127.0.0.1:1/file: ",
        "/nonexistent/file: there is no such file",
    ] {
        assert!(error.contains(why), "{why}: {error}");
    }
    // What was there of a wrong file does not spoil the right one.
    setting.fetch(&[place("short"), place("file")]).expect("fetched");
    setting.check();
}

#[test]
fn offline_reaches_this_machine_and_nothing_else() {
    let setting = setting();
    let server = setting.server(Fault::None);
    let client = Client::new(true);
    let fetch = |place: Location| {
        client.fetch(&setting.store, expected(&setting.contents), &[place], &|_| {})
    };
    let error = fetch(setting.place(&server)).expect_err("refused").to_string();
    assert!(error.contains("(--offline)") && server.requests().is_empty(), "{error}");
    let local = Location::parse(&setting.served().join("served").to_string_lossy());
    fetch(local.expect("a path").join("file")).expect("fetched");
    setting.check();
}

#[test]
fn a_slow_server_is_waited_for_as_long_as_it_goes_on() {
    let setting = setting();
    let server = setting.server(Fault::Slow(200_000, Duration::from_millis(20)));
    setting.fetch(&[setting.place(&server)]).expect("fetched");
    setting.check();
}

#[test]
fn a_small_file_has_a_limit() {
    let setting = setting();
    let server = setting.server(Fault::None);
    let client = Client::new(false);
    let error = client.read(&setting.place(&server), 1000).expect_err("refused");
    assert!(format!("{error:#}").contains("it is longer than 1000 bytes"), "{error:#}");
    let none = Location::parse(server.address()).expect("an address").join("none");
    assert_eq!(client.read(&none, 1000).expect("an answer"), None);
}

#[test]
fn two_hundred_inputs_are_looked_up_in_milliseconds() {
    let setting = setting();
    let inputs: Vec<_> = (0..200u32)
        .map(|n| {
            let bytes = n.to_le_bytes();
            setting.store.put(&bytes).expect("put");
            expected(&bytes)
        })
        .collect();
    let start = std::time::Instant::now();
    assert!(inputs.iter().all(|input| setting.store.holds(input)));
    let took = start.elapsed();
    assert!(took < Duration::from_millis(50), "took {took:?}");
}
