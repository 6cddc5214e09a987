//! Tests of `se`.

use alloc::vec;

use zerocopy::IntoBytes as _;

use super::create::Parts;
use super::host_key::HostKey;
use super::*;
use crate::digest::Sha256;
use crate::format::se_header::Fixed;

const HOST_1: &[u8] = include_bytes!("../../../../tests/vectors/se/host1.pem");
const HOST_2: &[u8] = include_bytes!("../../../../tests/vectors/se/host2.pem");
const P384: &[u8] = include_bytes!("../../../../tests/vectors/se/p384.pem");
const THE_SEED: &[u8] = b"a seed of thirty-two bytes, test";

/// Files that a script in another language makes too.
struct Files {
    stage3a: Vec<u8>,
    stage3b: Vec<u8>,
    kernel: Vec<u8>,
    ramdisk: Vec<u8>,
}

fn files() -> Files {
    let pattern = |length: usize, times: usize, modulus: usize| {
        (0..length).map(|i| u8::try_from(i * times % modulus).unwrap_or(0)).collect::<Vec<_>>()
    };
    let mut kernel = pattern(0x1_1234, 7, 251);
    kernel[0x1_0008..0x1_000e].copy_from_slice(b"S390EP");
    Files {
        stage3a: pattern(0x1500, 3, 241),
        stage3b: pattern(0x900, 5, 239),
        kernel,
        ramdisk: b"ramdisk".repeat(900),
    }
}

fn guest<'a>(files: &'a Files, hosts: &[&'a [u8]]) -> Guest<'a> {
    let fixed =
        [("stage3a", &files.stage3a[..]), ("stage3b", &files.stage3b), ("key-seed", THE_SEED)];
    let hosts = hosts.iter().map(|host| ("host-key", *host));
    Guest {
        kernel: Some(&files.kernel),
        initrd: Some(&files.ramdisk),
        cmdline: Some("console=ttysclp0"),
        others: fixed.into_iter().chain(hosts).collect(),
        ..Guest::default()
    }
}

fn machine(on: &[&str]) -> Machine {
    let mut machine = Machine::default();
    let flag = |name: &&str| (name.to_string(), crate::measure::Value::Flag(true));
    machine.settings.extend(on.iter().map(flag));
    machine
}

fn sha256(made: &Made) -> String {
    Sha256::of(&made.image).to_string()
}

// Known answers: a script in Python on `cryptography` made the same images from the same inputs.
#[test]
fn images_are_those_of_an_independent_implementation() {
    let files = files();
    let plain = make(&guest(&files, &[HOST_1, HOST_2]), &machine(&[])).expect("made");
    assert_eq!(sha256(&plain), "036a5da2f6fbc2d6d4a81cbdd75d60a07d09a0ea7d495cfba5f8c95a488da617");
    assert_eq!(crate::digest::hex(&plain.header.tag), "f4e2245de751ca7cdfd31bb34dda4230");
    let on = ["enable-dump", "disable-image-encryption", "enable-cck-extension-secret"];
    let open = make(&guest(&files, &[HOST_1, HOST_2]), &machine(&on)).expect("made");
    assert_eq!(sha256(&open), "5cc0bb8ba0c3635b3279c5a5c39b93b7d097ece16a0c363f9d48e9d98b189238");
    let mut bare = guest(&files, &[HOST_1, HOST_2]);
    (bare.initrd, bare.cmdline) = (None, None);
    let bare = make(&bare, &machine(&[])).expect("made");
    assert_eq!(sha256(&bare), "f709eca12a3178e7d9c33e4e7ad46a0f47cd1bdc1447827473510e8e7ae5c186");
}

#[test]
fn hosts_may_be_given_in_any_order_and_twice() {
    let files = files();
    let one = make(&guest(&files, &[HOST_1, HOST_2]), &machine(&[])).expect("made");
    let other = make(&guest(&files, &[HOST_2, HOST_1, HOST_2]), &machine(&[])).expect("made");
    assert_eq!(one, other);
}

#[test]
fn no_secret_is_shared_between_images_that_differ() {
    let files = files();
    let of = |cmdline| {
        let mut guest = guest(&files, &[HOST_1]);
        guest.cmdline = cmdline;
        let parts = given::parts(&guest, &machine(&[])).expect("parts");
        given::secrets(&guest, &parts).expect("secrets")
    };
    let (one, other) = (of(Some("a")), of(Some("b")));
    assert_ne!(one.header_key, other.header_key);
    assert_ne!((one.iv, one.cck), (other.iv, other.cck));
    assert_ne!(one.image_key, other.image_key);
    assert!(one.tweaks.iter().zip(&other.tweaks).all(|(one, other)| one != other));
    assert_ne!(of(None).iv, of(Some("")).iv, "no command line is not an empty one");
}

#[test]
fn an_image_measures_as_it_was_made_and_not_when_a_page_is_changed() {
    let files = files();
    let made = make(&guest(&files, &[HOST_1, HOST_2]), &machine(&[])).expect("made");
    let of = |image: &[u8]| one(&Guest { image: Some(image), ..Guest::default() }, &machine(&[]));
    let measured = of(&made.image).expect("an image");
    assert_eq!(measured, of(&made.header.write()).expect("its header alone"));
    let names: Vec<_> = measured.registers.iter().map(|r| r.name.as_str()).collect();
    let expected = [
        "image_phkh",
        "attestation_phkh",
        "tag",
        "version",
        "pld",
        "ald",
        "tld",
        "image_phkh.2",
        "attestation_phkh.2",
    ];
    assert_eq!(names, expected);
    let first = "2549e96b0c909ce925805f76867c4f861e61c265e09ed4138ddd368c16929ae3";
    assert_eq!(crate::digest::hex(&measured.registers[0].value), first);
    let mut broken = made.image.clone();
    broken[0x1_6000] ^= 1;
    let error = of(&broken).unwrap_err().to_string();
    assert!(error.starts_with("image: page list digest"), "{error}");
}

// s390-tools (commit c6649588), rust/pvimg/src/pv_utils/secured_comp.rs, its own known answer.
#[test]
fn page_lists_are_those_of_s390_tools() {
    let mut key = [0x42; 64];
    key[32..].fill(0x43);
    let (mut first, mut second) = (vec![1; 0x3400], vec![2; 0x3000]);
    first.resize(0x4000, 0);
    for pages in [&mut first, &mut second] {
        create::encrypt(&key, 0x42, pages);
    }
    let component = |address, pages| digests::Component { address, tweak: 0x42, pages };
    let found = Digests::of([component(0x1_0000, &first), component(0x2_0000, &second)]);
    assert_eq!(
        found.pld.to_string(),
        "a24ff30a8af1295888dedfe9369eb509290309a90159ebc32ca26a53f9d4364a781857e2590587536c3e767355c7b7603f2b0c6a407f16330d82128d0964fad2"
    );
    assert_eq!(
        found.ald.to_string(),
        "c391de5727a08212ea2fea9c37f9cf090be51f93c6d521b8906332ce720c5f38ada0e73e69663e5211d015fef41dc62606f5135e619904d4f450ab889f49caad"
    );
    assert_eq!(
        found.tld.to_string(),
        "424fe3cf04a6f64a7aef185c3b4ef607c0e4f54bb7e14620b574a3d31eef31c7d462eb040d45ee6918e6b80968ba4454f9e2edc26f6929ed624d0055f2355659"
    );
    assert_eq!(found.pages, 7);
}

#[test]
fn inputs_that_make_no_image_are_refused_with_the_reason() {
    let files = files();
    let error = |edit: &dyn Fn(&mut Guest<'_>)| {
        let mut guest = guest(&files, &[HOST_1]);
        edit(&mut guest);
        make(&guest, &machine(&[])).map(|_| ()).expect_err("refused").to_string()
    };
    let curve = error(&|guest| guest.others.push(("host-key", P384)));
    assert!(
        curve.ends_with("expected an elliptic-curve key on P-521 (secp521r1), found P-384"),
        "{curve}"
    );
    let text = error(&|guest| guest.others.push(("host-key", b"text")));
    assert!(text.contains("expected an X.509 certificate, PEM or DER"), "{text}");
    let elf = [&b"\x7fELF"[..], &[0; 0x1_1000]].concat();
    let elf = make(&Guest { kernel: Some(&elf), ..guest(&files, &[HOST_1]) }, &machine(&[]));
    let elf = elf.map(|_| ()).unwrap_err().to_string();
    assert!(elf.contains("of a raw kernel image (bzImage), found an ELF file"), "{elf}");
    let short = error(&|guest| guest.others[2].1 = b"short");
    assert!(
        short.contains("seed at byte offset 0x0: expected at least 32, found 5 bytes"),
        "{short}"
    );
    let none = error(&|guest| guest.others.retain(|(name, _)| *name != "key-seed"));
    assert!(none.starts_with("se needs key-seed: without a seed"), "{none}");
    let hosts = error(&|guest| guest.others.truncate(3));
    assert!(hosts.starts_with("se needs host-key"), "{hosts}");
    let cck = error(&|guest| guest.others.push(("cck", b"short")));
    assert!(cck.contains("cck: expected 32 bytes, found `5 bytes`"), "{cck}");
}

/// An image for `count` hosts, whose keys are the multiples of the curve's generator.
fn for_hosts(count: u8) -> crate::format::Result<Made> {
    let files = files();
    let host = |number: u8| {
        let mut scalar = [0; 66];
        scalar[65] = number;
        HostKey::of(p521::SecretKey::from_slice(&scalar).expect("a scalar").public_key())
    };
    let parts = Parts {
        stage3a: &files.stage3a,
        stage3b: &files.stage3b,
        kernel: &files.kernel,
        ramdisk: Some(&files.ramdisk),
        cmdline: None,
        hosts: (1..=count).map(host).collect(),
        pcf: 0xe0,
        scf: 0,
    };
    let digest = parts.digest();
    create::create(parts, &secrets::Secrets::derive(THE_SEED, &digest).expect("secrets"))
}

// The header holds 44 slots in its first page; one more moves every component by a page.
#[test]
fn the_45th_host_moves_the_layout() {
    let first = |made: &Made| {
        let image = Image::parse(&made.image).expect("an image");
        let digests = of_image(&made.image).map(|(header, _)| header.fixed.ald);
        (image.components[0].0.address.get(), digests.expect("digests that hold"))
    };
    let (few, many) = (for_hosts(44).expect("made"), for_hosts(45).expect("made"));
    assert_eq!((few.header.slots.len(), first(&few).0), (44, 0x1_5000));
    assert_eq!((many.header.slots.len(), first(&many).0), (45, 0x1_6000));
    assert_ne!(first(&few).1, first(&many).1);
    assert_eq!(for_hosts(95).expect("two pages").header.write().len(), 8160);
    let error = for_hosts(96).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("number of host keys") && error.contains("expected 1 to 95, found 96"),
        "{error}"
    );
}

#[test]
fn without_a_seed_only_what_no_secret_enters_is_told() {
    let files = files();
    let mut without = guest(&files, &[HOST_1]);
    without.others.retain(|(name, _)| *name != "key-seed");
    let names = |guest: &Guest<'_>, on: &[&str]| {
        let found = one(guest, &machine(on)).expect("measured");
        assert!(found.warnings[0].starts_with("without the seed"), "{:?}", found.warnings);
        found.registers.iter().map(|r| r.name.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&without, &[]), "image_phkh attestation_phkh version ald");
    let open = names(&without, &["disable-image-encryption"]);
    assert_eq!(open, "image_phkh attestation_phkh version pld ald");
    let whole = one(&guest(&files, &[HOST_1]), &machine(&["disable-image-encryption"]));
    let whole = whole.expect("measured").registers;
    let part = one(&without, &machine(&["disable-image-encryption"])).expect("measured");
    assert!(part.registers.iter().all(|register| whole.contains(register)));
    let keys: [(&str, &[u8]); 2] = [("image-key", &[5; 64]), ("tweaks", &[6; 24])];
    without.others.extend(keys);
    assert_eq!(names(&without, &[]), "image_phkh attestation_phkh version pld ald tld");
}

#[test]
fn values_given_by_hand_replace_those_of_the_seed() {
    let files = files();
    let hosts: &[&[u8]] = &[HOST_1, HOST_2];
    let by_seed = guest(&files, hosts);
    let parts = given::parts(&by_seed, &machine(&[])).expect("parts").checked().expect("parts");
    let secrets = given::secrets(&by_seed, &parts).expect("secrets");
    let (tweaks, customer) = (secrets.tweaks.concat(), secrets.customer.to_bytes());
    let mut by_hand = guest(&files, hosts);
    by_hand.others.retain(|(name, _)| *name != "key-seed");
    let keys: [(&str, &[u8]); 6] = [
        ("hdr-key", &secrets.header_key),
        ("image-key", &secrets.image_key),
        ("cck", &secrets.cck),
        ("header-iv", &secrets.iv),
        ("tweaks", &tweaks),
        ("customer-key", &customer),
    ];
    by_hand.others.extend(keys);
    let one = make(&by_seed, &machine(&[])).expect("made");
    assert_eq!(make(&by_hand, &machine(&[])).expect("made"), one);
    for (name, _) in keys {
        let mut short = by_hand.clone();
        short.others.iter_mut().filter(|(own, _)| *own == name).for_each(|(_, b)| *b = &[0; 5]);
        let error = make(&short, &machine(&[])).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: expected ")), "{error}");
    }
}

#[test]
fn an_image_is_checked_by_its_key_and_by_its_inputs() {
    let files = files();
    let inputs = guest(&files, &[HOST_1]);
    let parts = given::parts(&inputs, &machine(&[])).expect("parts").checked().expect("parts");
    let secrets = given::secrets(&inputs, &parts).expect("secrets");
    let made = make(&inputs, &machine(&[])).expect("made");
    let opened = open::open(&made.header, &secrets.header_key).expect("its own key");
    let image = Image::parse(&made.image).expect("an image");
    let last = image.components.last().expect("stage3b").0.address.get();
    assert_eq!(opened, open::Opened { psw: (0x1_8000_0000, last), scf: 0 });
    let by = |guest: Guest<'_>| one(&guest, &machine(&[])).map(|_| ()).map_err(|e| e.to_string());
    let image = Some(made.image.as_slice());
    let key = |key| Guest { image, others: [("hdr-key", key)].into(), ..Guest::default() };
    assert_eq!(by(key(&secrets.header_key)), Ok(()));
    let error = by(key(&[0; 32])).unwrap_err();
    assert!(error.starts_with("hdr-key: header tag at byte offset 0x270"), "{error}");
    assert_eq!(by(Guest { image, ..inputs.clone() }), Ok(()));
    let error = by(Guest { image, cmdline: Some("other"), ..inputs.clone() }).unwrap_err();
    assert!(error.contains("as its inputs make it"), "{error}");
}

#[test]
fn every_contradiction_of_a_header_is_named() {
    let files = files();
    let made = make(&guest(&files, &[HOST_1]), &machine(&[])).expect("made");
    let broken = |offset: usize, byte: u8| {
        let mut header = made.header.write();
        header[offset] = byte;
        Header::parse(&header).expect_err("a broken header").to_string()
    };
    assert!(broken(0, 0).starts_with("Secure Execution header magic at byte offset 0x0"));
    assert!(broken(10, 2).starts_with("Secure Execution header version at byte offset 0x8"));
    assert!(broken(15, 0).starts_with("header size at byte offset 0xc: expected 0x280"));
    assert!(broken(39, 96).starts_with("number of key slots at byte offset 0x20"));
    assert!(broken(47, 0).starts_with("size of the encrypted area at byte offset 0x28"));
    assert!(Header::parse(&made.header.write()[..639]).is_err());
}

// Whatever is printed of an image or of a failure, no secret is in it.
#[test]
fn secrets_are_in_no_message() {
    let files = files();
    let guest = guest(&files, &[HOST_1]);
    let parts = given::parts(&guest, &machine(&[])).expect("parts");
    let secrets = given::secrets(&guest, &parts).expect("secrets");
    let made = make(&guest, &machine(&[])).expect("made");
    let said = format!("{:?} {:?}", made.header, one(&guest, &machine(&[])));
    let image = crate::digest::hex(&made.image);
    for secret in [&secrets.header_key[..], &secrets.image_key, &secrets.cck, THE_SEED] {
        assert!(
            !said.contains(&format!("{secret:?}")) && !said.contains(&crate::digest::hex(secret))
        );
        assert!(!image.contains(&crate::digest::hex(secret)), "in the image only encrypted");
    }
}

proptest::proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>, at in 0_usize..0x200) {
        let _ = Header::parse(&bytes);
        let mut image = vec![0; 0xc000];
        image.extend_from_slice(b"SeImgLnx");
        image.extend_from_slice(&bytes);
        let _ = Image::parse(&image);
        let _ = HostKey::parse(&bytes);
        let mut header = Fixed::new(1).as_bytes().to_vec();
        header.splice(at.min(400)..at.min(400) + 1, bytes);
        let _ = Header::parse(&header);
    }
}
