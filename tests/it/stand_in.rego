# A policy with the same questions as trustee's default CPU policy (0.21), in our own words: which
# claim is compared with which name, and how. Tests of the dry run evaluate it.
package policy

import rego.v1

default executables := 33

default hardware := 97

default configuration := 36

trust_claims := {"executables": executables, "hardware": hardware, "configuration": configuration}

executables := 3 if input.snp.measurement in query_reference_value("snp_launch_measurement")

hardware := 2 if {
	input.snp.reported_tcb_bootloader in query_reference_value("snp_bootloader")
	input.snp.reported_tcb_microcode in query_reference_value("snp_microcode")
	input.snp.reported_tcb_snp in query_reference_value("snp_snp_svn")
	input.snp.reported_tcb_tee in query_reference_value("snp_tee_svn")
}

configuration := 2 if {
	input.snp.policy_debug_allowed == false
	input.snp.policy_migrate_ma == false
	input.snp.platform_smt_enabled == query_reference_value("snp_smt_enabled")
	input.snp.platform_tsme_enabled == query_reference_value("snp_tsme_enabled")
	input.snp.policy_abi_major == query_reference_value("snp_guest_abi_major")
	input.snp.policy_abi_minor == query_reference_value("snp_guest_abi_minor")
	input.snp.policy_single_socket == query_reference_value("snp_single_socket")
	input.snp.policy_smt_allowed == query_reference_value("snp_smt_allowed")
}

executables := 3 if {
	input.tdx.quote.body.rtmr_1 in query_reference_value("rtmr_1")
	input.tdx.quote.body.rtmr_2 in query_reference_value("rtmr_2")
	some kernel in input.tdx.uefi_event_logs
	kernel.type_name == "EV_EFI_BOOT_SERVICES_APPLICATION"
	"File(kernel)" in kernel.details.device_paths
	kernel.digests[0].digest == query_reference_value("tdvfkernel")
	some options in input.tdx.uefi_event_logs
	options.type_name == "EV_EVENT_TAG"
	options.details.string == "LOADED_IMAGE::LoadOptions"
	options.digests[0].digest == query_reference_value("tdvfkernelparams")
}

hardware := 2 if {
	input.tdx.tcb_status == "UpToDate"
	input.tdx.collateral_expiration_status == "0"
	input.tdx.quote.body.mr_td in query_reference_value("mr_td")
}

configuration := 2 if {
	input.tdx.td_attributes.debug == false
	# input.tdx.quote.body.mr_seam in query_reference_value("mr_seam")
	input.tdx.quote.body.xfam in query_reference_value("xfam")
}

executables := 3 if {
	input["az-snp-vtpm"].measurement in query_reference_value("measurement")
	input["az-snp-vtpm"].tpm.pcr11 in query_reference_value("snp_pcr11")
}

hardware := 2 if {
	input["az-snp-vtpm"].reported_tcb_bootloader in query_reference_value("tcb_bootloader")
	input["az-snp-vtpm"].reported_tcb_microcode in query_reference_value("tcb_microcode")
	input["az-snp-vtpm"].reported_tcb_snp in query_reference_value("tcb_snp")
	input["az-snp-vtpm"].reported_tcb_tee in query_reference_value("tcb_tee")
}

configuration := 2 if {
	input["az-snp-vtpm"].platform_smt_enabled in query_reference_value("smt_enabled")
	input["az-snp-vtpm"].platform_tsme_enabled in query_reference_value("tsme_enabled")
	input["az-snp-vtpm"].policy_abi_major in query_reference_value("abi_major")
	input["az-snp-vtpm"].policy_abi_minor in query_reference_value("abi_minor")
	input["az-snp-vtpm"].policy_single_socket in query_reference_value("single_socket")
	input["az-snp-vtpm"].policy_smt_allowed in query_reference_value("smt_allowed")
}

executables := 3 if input["az-tdx-vtpm"].tpm.pcr11 in query_reference_value("tdx_pcr11")

hardware := 2 if {
	input["az-tdx-vtpm"].tcb_status == "UpToDate"
	input["az-tdx-vtpm"].quote.body.mr_td in query_reference_value("mr_td")
}

configuration := 2 if input["az-tdx-vtpm"].quote.body.xfam in query_reference_value("xfam")

executables := 3 if {
	input.tpm.pcr11 in query_reference_value("tpm_pcr11")
	input.tpm.ak_public in query_reference_value("trusted_aks")
}

hardware := 2 if input.tpm

configuration := 0 if input.tpm
