"""Forms of one bundle, checked by the libraries of those who read them. Called by `forms`."""

import hashlib, json, pathlib, sys, tomllib

work = pathlib.Path(sys.argv[1])
bundle, kata = work / "bundle", work / "kata"
document = json.loads((bundle / "reference-values.json").read_text())
public = (bundle.parent / "key.pub").read_text()


def corim():
    """What corim-rs read is every register of every machine, and nothing else."""
    found = [line.split() for line in (work / "corim.txt").read_text().splitlines()]
    expected = sorted(value for m in document["machines"] for value in m["registers"].values())
    assert sorted(value for _, value in found) == expected, "registers differ"
    assert len({path for path, _ in found}) == len(found), "two values of one path"
    return f"{len(found)} registers"


def cose():
    import cbor2
    from cwt import COSE, COSEKey

    signed = (bundle / "reference-values.cose").read_bytes()
    # The reader picks a key by the identifier that the protected header (4: kid) names.
    key = COSEKey.from_pem(public, kid=cbor2.loads(cbor2.loads(signed).value[0])[4])
    assert COSE.new().decode(signed, key) == (bundle / "reference-values.corim").read_bytes()
    try:
        COSE.new().decode(signed[:-1] + bytes([signed[-1] ^ 1]), key)
    except Exception:
        return "COSE_Sign1 verified"
    raise AssertionError("anything verifies")


def dsse():
    from in_toto_attestation.v1.statement import Statement
    from google.protobuf.json_format import ParseDict
    import in_toto_attestation.v1.statement_pb2 as statement_pb
    import in_toto_attestation.predicates.provenance.v1.provenance_pb2 as provenance_pb
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    raw = json.loads((bundle / "provenance.intoto.jsonl").read_text())
    keyid = raw["signatures"][0]["keyid"]
    envelope = Envelope.from_dict(raw)
    key = SSlibKey.from_crypto(load_pem_public_key(public.encode()), keyid=keyid)
    assert envelope.verify([key], 1), "the signature is wrong"
    statement = json.loads(envelope.payload)
    predicate = statement["predicate"]
    Statement.copy_from_pb(ParseDict(statement, statement_pb.Statement())).validate()
    ParseDict(predicate, provenance_pb.Provenance())
    for subject in statement["subject"]:
        bytes_ = (bundle / subject["name"]).read_bytes()
        assert hashlib.sha256(bytes_).hexdigest() == subject["digest"]["sha256"], subject["name"]
    return f"{len(statement['subject'])} subjects, {len(predicate['buildDefinition']['resolvedDependencies'])} materials"


def spdx():
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    parsed = parse_file(str(bundle / "sbom.spdx.json"))
    messages = validate_full_spdx_document(parsed)
    assert not messages, messages[:3]
    return f"{len(parsed.packages)} packages"


def cyclonedx():
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (bundle / "sbom.cdx.json").read_text()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, error
    return f"{len(json.loads(text)['components'])} components"


def schema():
    import jsonschema

    jsonschema.Draft202012Validator(json.loads(pathlib.Path("docs/reference-values.schema.json").read_text())).validate(document)
    return "the canonical document"


def rego():
    """The grouped policy in rego-cpp: each machine passes, and none with a register of another."""
    from regopy import Interpreter

    policy = (bundle / "policy.rego").read_text()
    host = {"snp_bootloader": [7], "snp_microcode": [72], "snp_snp_svn": [14], "snp_tee_svn": [0], "xfam": ["e702060000000000"]}
    # rego-cpp has no functions of ours: the query is a rule over data.
    policy += "\nquery_reference_value(name) := data.host[name]\n"

    def claims(machine):
        r = machine["registers"]
        if machine["tee"] == "sev-snp":
            return {"snp": {
                "measurement": r["measurement"], "reported_tcb_bootloader": 7, "reported_tcb_microcode": 72,
                "reported_tcb_snp": 14, "reported_tcb_tee": 0, "policy_debug_allowed": False, "policy_migrate_ma": False,
            }}
        return {"tdx": {
            "quote": {"header": {"tee_type": "81000000", "vendor_id": "939a7233f79c4ca9940a0db3957f0607"},
                      "body": {"mr_td": r["mrtd"], "rtmr_1": r["rtmr1"], "rtmr_2": r["rtmr2"], "xfam": "e702060000000000"}},
            "td_attributes": {"debug": False}, "tcb_status": "UpToDate", "collateral_expiration_status": "0",
        }}

    def verdict(claims):
        engine = Interpreter()
        engine.add_module("policy.rego", policy)
        engine.add_data_json(json.dumps({"host": host}))
        engine.set_input_term(json.dumps(claims))
        output = engine.query("x = data.policy.trust_claims")
        value = json.loads(str(output))
        while isinstance(value, list):
            value = value[0]
        value = value.get("bindings", value)["x"] if isinstance(value, dict) else value
        return value["executables"], value["hardware"], value["configuration"]

    count = 0
    for machine in document["machines"]:
        good = claims(machine)
        assert verdict(good)[:2] == (3, 2), (machine["tee"], verdict(good))
        text = json.dumps(good)
        for value in set(machine["registers"].values()):
            if value in text and int(value, 16):
                bad = json.loads(text.replace(value, "ab" * (len(value) // 2)))
                assert verdict(bad)[0] == 33, (machine["tee"], verdict(bad))
                count += 1
    return f"{len(document['machines'])} machines pass, {count} changed ones do not"


def hand_over():
    import yaml

    values = yaml.safe_load((kata / "values.yaml").read_text())
    runtime = yaml.safe_load((kata / "ccruntime.yaml").read_text())
    index = json.loads((kata / "payload/index.json").read_text())
    pinned = "registry.example/payload@" + index["manifests"][0]["digest"]
    assert values["image"]["reference"] == pinned == runtime["spec"]["config"]["payloadImage"]
    for name, custom in values["customRuntimes"]["runtimes"].items():
        drop_in = (kata / (custom["baseConfig"] + ".toml")).read_text()
        assert custom["dropIn"].strip() == drop_in.strip(), name
        assert yaml.safe_load(custom["runtimeClass"])["handler"] == name
        qemu = tomllib.loads(drop_in)["hypervisor"]["qemu"]
        assert (kata / (custom["baseConfig"] + ".cmdline")).read_text().endswith(" " + qemu["kernel_params"])
    return ", ".join(values["customRuntimes"]["runtimes"])


for check in [corim, cose, dsse, spdx, cyclonedx, schema, rego, hand_over]:
    print(f"{check.__name__}: {check()}", flush=True)
