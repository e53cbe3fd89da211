"""Drives OCI's Core Services wire, the token service and the instance metadata service by oci."""

import datetime
import email.utils
import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = sys.argv[1]
REGION = "eu-frankfurt-1"
COMPARTMENT = "ocid1.compartment.oc1..lab"
TENANCY = "ocid1.tenancy.oc1..lab"
SUBNET = "ocid1.subnet.oc1.eu-frankfurt-1.lab"
FINGERPRINT = "20:3b:97:13:55:1c:5b:0d:d3:37:d8:50:4e:c5:3a:34"


def instance(letter):
    return f"ocid1.instance.oc1.{REGION}.{letter}"


def vnic(letter):
    return f"ocid1.vnic.oc1.{REGION}.{letter}"


# The SDK reads it when it is imported.
os.environ["OCI_METADATA_BASE_URL"] = f"{URL}/instances/{instance('b')}/opc/v2"

import oci  # noqa: E402
from oci.core import ComputeClient, VirtualNetworkClient  # noqa: E402
from oci.core.models import (  # noqa: E402
    BulkUpdatePrivateIpItem, BulkUpdatePrivateIpsDetails, CreatePrivateIpDetails, UpdatePrivateIpDetails,
    UpdateVnicDetails,
)
from oci.work_requests import WorkRequestClient  # noqa: E402

ONCE = dict(retry_strategy=oci.retry.NoneRetryStrategy(), service_endpoint=URL, timeout=5)


def http(method, path, headers=None, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def metadata(letter, path):
    return http("GET", f"/instances/{instance(letter)}/opc/v2/{path}", {"Authorization": "Bearer Oracle"})


def config(user):
    return {"tenancy": TENANCY, "user": f"ocid1.user.oc1..{user}", "fingerprint": FINGERPRINT, "region": REGION,
            "key_content": metadata("a", "identity/key.pem")}


def refused(status, code, words, act, *arguments, **named):
    try:
        act(*arguments, **named)
    except oci.exceptions.ServiceError as error:
        assert (error.status, error.code) == (status, code), error
        assert words in error.message, error
        assert error.request_id and error.headers["opc-request-id"], error
        return error
    raise AssertionError(f"{code} was expected")


def addresses(network, letter):
    found = oci.pagination.list_call_get_all_results(network.list_private_ips, vnic_id=vnic(letter)).data
    return [held.ip_address for held in found]


def look_up(network, address):
    found = network.list_private_ips(subnet_id=SUBNET, ip_address=address).data
    assert len(found) <= 1, found
    return found[0] if found else None


def listed(network):
    nic = network.get_vnic(vnic("a"))
    assert nic.data.mac_address == "02:00:17:00:00:0A", nic.data
    assert nic.data.skip_source_dest_check is False and nic.data.is_primary is True, nic.data
    assert nic.data.private_ip == "10.77.60.4" and nic.data.subnet_id == SUBNET, nic.data
    assert nic.data.freeform_tags == {"sam-group": "lab"} and nic.headers["etag"], nic.data
    first, second = network.list_private_ips(vnic_id=vnic("a")).data
    assert first.is_primary and not second.is_primary, (first, second)
    assert second.ip_address == "10.77.60.10" and second.vnic_id == vnic("a"), second
    assert second.ip_state == "ASSIGNED" and second.lifetime == "EPHEMERAL", second
    assert look_up(network, "10.77.60.10").id == second.id
    assert look_up(network, "10.77.60.1") is None, "a part of an address is not the address"
    refused(400, "MissingParameter", "subnetId", network.list_private_ips)
    refused(400, "InvalidParameter", "ipAddress", network.list_private_ips, subnet_id=SUBNET, ip_address="10.77")
    refused(404, "NotAuthorizedOrNotFound", "", network.list_private_ips, vnic_id=vnic("x"))
    refused(404, "NotAuthorizedOrNotFound", "", network.get_private_ip, "ocid1.privateip.oc1..x")


def paged(network):
    page = network.list_private_ips(subnet_id=SUBNET)
    assert len(page.data) == 2 and page.has_next_page, page.data
    everything = oci.pagination.list_call_get_all_results(network.list_private_ips, subnet_id=SUBNET).data
    assert [held.ip_address for held in everything] == ["10.77.60.4", "10.77.60.10", "10.77.60.5", "10.77.60.20"]
    page = network.list_private_ips(subnet_id=SUBNET, limit=1)
    assert len(page.data) == 1 and page.next_page, page.data
    rest = network.list_private_ips(subnet_id=SUBNET, limit=1, page=page.next_page).data
    assert [held.ip_address for held in rest] == ["10.77.60.10"], rest
    refused(400, "InvalidParameter", "page", network.list_private_ips, subnet_id=SUBNET, page="forged")
    refused(400, "InvalidParameter", "limit", network.list_private_ips, subnet_id=SUBNET, limit=0)


def create(network, letter, address, **named):
    return network.create_private_ip(CreatePrivateIpDetails(vnic_id=vnic(letter), ip_address=address, **named))


def created(network):
    made = create(network, "a", "10.77.60.11", display_name="sam 10.77.60.11", freeform_tags={"samctl": "lab"})
    assert made.data.display_name == "sam 10.77.60.11" and made.data.freeform_tags == {"samctl": "lab"}, made.data
    assert isinstance(made.data.time_created, datetime.datetime), made.data
    got = network.get_private_ip(made.data.id)
    assert got.headers["etag"] == made.headers["etag"] and got.data == made.data, got.data
    assert create(network, "a", None).data.ip_address == "10.77.60.2", "the first that is free"
    network.delete_private_ip(look_up(network, "10.77.60.2").id)

    refused(409, "Conflict", "10.77.60.11", create, network, "b", "10.77.60.11")
    refused(409, "Conflict", "10.77.60.20", create, network, "b", "10.77.60.20")
    refused(400, "InvalidParameter", "10.77.61.9", create, network, "b", "10.77.61.9")
    refused(400, "InvalidParameter", "10.77.60.1 ", create, network, "b", "10.77.60.1")
    refused(400, "InvalidParameter", "10.77.60.255", create, network, "b", "10.77.60.255")
    refused(404, "NotAuthorizedOrNotFound", "", create, network, "x", "10.77.60.12")
    refused(400, "MissingParameter", "vnicId", network.create_private_ip, CreatePrivateIpDetails(subnet_id=SUBNET))
    assert addresses(network, "b") == ["10.77.60.5"]


def move(network, held, letter, etag):
    details = UpdatePrivateIpDetails(vnic_id=vnic(letter))
    return network.update_private_ip(held.id, details, if_match=etag)


def moved(network):
    before = network.get_private_ip(look_up(network, "10.77.60.11").id)
    first = before.headers["etag"]
    after = move(network, before.data, "b", first)
    assert after.data.id == before.data.id and after.data.vnic_id == vnic("b"), after.data
    assert after.data.freeform_tags == {"samctl": "lab"}, "tags go along"
    assert after.headers["etag"] != first
    assert addresses(network, "a") == ["10.77.60.4", "10.77.60.10"]
    assert addresses(network, "b") == ["10.77.60.5", "10.77.60.11"]
    # Who rests on what was before loses.
    refused(412, "NoEtagMatch", "", move, network, before.data, "a", first)
    refused(412, "NoEtagMatch", "", network.delete_private_ip, before.data.id, if_match=first)
    same = move(network, before.data, "b", after.headers["etag"])
    assert same.headers["etag"] == after.headers["etag"], "nothing changed"
    named = network.update_private_ip(before.data.id, UpdatePrivateIpDetails(display_name="other"))
    assert named.data.display_name == "other" and named.headers["etag"] != after.headers["etag"], named.data
    primary = look_up(network, "10.77.60.5")
    refused(400, "InvalidParameter", "primary", move, network, primary, "a", None)
    refused(400, "InvalidParameter", "primary", network.delete_private_ip, primary.id)
    refused(404, "NotAuthorizedOrNotFound", "", move, network, before.data, "x", None)


def deleted(network):
    held = network.get_private_ip(look_up(network, "10.77.60.11").id)
    gone = network.delete_private_ip(held.data.id, if_match=held.headers["etag"])
    assert gone.status == 204 and addresses(network, "b") == ["10.77.60.5"]
    refused(404, "NotAuthorizedOrNotFound", "", network.get_private_ip, held.data.id)
    refused(404, "NotAuthorizedOrNotFound", "", network.delete_private_ip, held.data.id)


def forwarding(network):
    nic = network.get_vnic(vnic("a"))
    network.delete_private_ip(create(network, "a", "10.77.60.13").data.id)
    etag = nic.headers["etag"]
    assert network.get_vnic(vnic("a")).headers["etag"] == etag, "its addresses are not the VNIC"
    details = UpdateVnicDetails(skip_source_dest_check=True)
    changed = network.update_vnic(vnic("a"), details, if_match=etag)
    assert changed.data.skip_source_dest_check is True and changed.headers["etag"] != etag, changed.data
    assert network.get_vnic(vnic("a")).data == changed.data
    refused(412, "NoEtagMatch", "", network.update_vnic, vnic("a"), details, if_match=etag)


def limited(network):
    for last in range(30, 33):
        create(network, "b", f"10.77.60.{last}")
    refused(400, "LimitExceeded", "4", create, network, "b", "10.77.60.33")
    refused(400, "LimitExceeded", "4", move, network, look_up(network, "10.77.60.10"), "b", None)


def bulk(network, work):
    held = [look_up(network, f"10.77.60.{last}") for last in range(30, 33)]
    items = [BulkUpdatePrivateIpItem(private_ip_id=each.id) for each in held]
    details = BulkUpdatePrivateIpsDetails(vnic_id=vnic("a"), bulk_update_private_ip_item=items)
    request = network.bulk_update_private_ips(details).headers["opc-work-request-id"]
    assert work.get_work_request(request).data.status == "IN_PROGRESS"
    refused(409, "IncorrectState", "", move, network, held[0], "a", None)
    deadline = time.monotonic() + 10
    while work.get_work_request(request).data.status != "SUCCEEDED":
        assert time.monotonic() < deadline, "the work request does not end"
        time.sleep(0.1)
    assert work.list_work_request_errors(request).data == []
    assert addresses(network, "b") == ["10.77.60.5"]
    assert addresses(network, "a") == ["10.77.60.4", "10.77.60.10", "10.77.60.30", "10.77.60.31", "10.77.60.32"]
    for each in held:
        network.delete_private_ip(each.id)


def identities(network):
    guest = VirtualNetworkClient(config("guest"), **ONCE)
    held = look_up(guest, "10.77.60.10")
    refused(404, "NotAuthorizedOrNotFound", "", move, guest, held, "b", None)
    refused(404, "NotAuthorizedOrNotFound", "", guest.delete_private_ip, held.id)
    refused(404, "NotAuthorizedOrNotFound", "", create, guest, "a", "10.77.60.12")
    # The third VNIC lacks the tag that the role of the first wants.
    refused(404, "NotAuthorizedOrNotFound", "", create, network, "c", "10.77.60.12")
    refused(404, "NotAuthorizedOrNotFound", "", move, network, held, "c", None)
    stranger = VirtualNetworkClient(config("stranger"), **ONCE)
    refused(401, "NotAuthenticated", "", stranger.get_vnic, vnic("a"))
    late = VirtualNetworkClient(config("laptop"), **ONCE)
    today = email.utils.formatdate
    email.utils.formatdate = lambda **named: today(time.time() - 360, **named)
    refused(401, "NotAuthenticated", "clock skew", late.get_vnic, vnic("a"))
    email.utils.formatdate = today
    assert late.get_vnic(vnic("a")).status == 200


def machines(compute, guest):
    def found(act, **named):
        return oci.pagination.list_call_get_all_results(act, COMPARTMENT, **named).data

    def states():
        return {known.id: known.lifecycle_state for known in found(compute.list_instances)}

    running = oci.core.models.Instance.LIFECYCLE_STATE_RUNNING
    assert states() == {instance(letter): running for letter in "abc"}, states()
    http("POST", f"/fakecloud/instances/{instance('c')}/stop")
    assert states()[instance("c")] == oci.core.models.Instance.LIFECYCLE_STATE_STOPPED, states()
    http("POST", f"/fakecloud/instances/{instance('c')}/start")
    assert states()[instance("c")] == running
    attached = found(compute.list_vnic_attachments)
    assert {each.vnic_id: each.instance_id for each in attached} == {vnic(letter): instance(letter) for letter in "abc"}
    one, = found(compute.list_vnic_attachments, vnic_id=vnic("b"))
    assert one.lifecycle_state == one.LIFECYCLE_STATE_ATTACHED and one.subnet_id == SUBNET, one
    assert found(compute.list_vnic_attachments, instance_id=instance("b")) == [one]
    other = "ocid1.compartment.oc1..other"
    refused(404, "NotAuthorizedOrNotFound", "", compute.list_instances, other)
    refused(404, "NotAuthorizedOrNotFound", "", compute.list_vnic_attachments, other)
    assert len(guest.list_instances(COMPARTMENT).data) == 2, "a page, of who may read"
    refused(404, "NotAuthorizedOrNotFound", "", guest.list_vnic_attachments, COMPARTMENT)


def instance_principal():
    for path in ["/opc/v2/instance/", "/opc/v1/instance/"]:
        try:
            http("GET", f"/instances/{instance('b')}{path}")
            raise AssertionError("the header is required")
        except urllib.error.HTTPError as error:
            assert error.code in (403, 404), error
    facts = json.loads(metadata("b", "instance/"))
    assert facts["id"] == instance("b") and facts["canonicalRegionName"] == REGION, facts
    assert metadata("b", "instance/region") == REGION
    own = json.loads(metadata("b", "vnics/"))[0]
    assert own["vnicId"] == vnic("b") == metadata("b", "vnics/0/vnicId"), own
    assert own["macAddr"] == "02:00:17:00:00:0B" and own["subnetCidrBlock"] == "10.77.60.0/24", own
    signer = oci.auth.signers.InstancePrincipalsSecurityTokenSigner(federation_endpoint=URL + "/v1/x509")
    assert signer.tenancy_id == TENANCY and signer.region == REGION, signer
    network = VirtualNetworkClient({}, signer=signer, **ONCE)
    assert addresses(network, "b") == ["10.77.60.5"]
    held = create(network, "b", "10.77.60.14").data
    network.delete_private_ip(held.id)
    ledger = json.loads(http("GET", "/fakecloud/ledger"))["entries"]
    assert ledger[-1]["principal"] == instance("b"), ledger[-1]
    token = signer.federation_client.security_token.security_token
    for forged in [token + "x", token.replace(".", ".x", 1)]:
        stranger = oci.auth.signers.SecurityTokenSigner(forged, signer.private_key)
        network = VirtualNetworkClient({}, signer=stranger, **ONCE)
        refused(401, "NotAuthenticated", "", network.get_vnic, vnic("b"))


def faults(network):
    def order(**fault):
        http("POST", "/fakecloud/faults", body=dict(provider="oci", times=1, **fault))

    order(operation="ListPrivateIps", effect={"refuse": {"status": 429, "code": "TooManyRequests", "retryAfter": 3}})
    busy = refused(429, "TooManyRequests", "", network.list_private_ips, subnet_id=SUBNET)
    assert busy.headers["retry-after"] == "3", busy.headers
    order(operation="CreatePrivateIp", effect="loseAnswer")
    try:
        create(network, "b", "10.77.60.15")
        raise AssertionError("the answer was lost")
    except oci.exceptions.RequestException:
        pass
    assert look_up(network, "10.77.60.15").vnic_id == vnic("b"), "and it took effect"
    order(operation="UpdateVnic", effect="revoke")
    details = UpdateVnicDetails(skip_source_dest_check=False)
    refused(404, "NotAuthorizedOrNotFound", "", network.update_vnic, vnic("a"), details)


def main():
    network = VirtualNetworkClient(config("laptop"), **ONCE)
    listed(network)
    paged(network)
    created(network)
    moved(network)
    deleted(network)
    forwarding(network)
    limited(network)
    bulk(network, WorkRequestClient(config("laptop"), **ONCE))
    identities(network)
    machines(ComputeClient(config("laptop"), **ONCE), ComputeClient(config("guest"), **ONCE))
    instance_principal()
    faults(network)


main()
