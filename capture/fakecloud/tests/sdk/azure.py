"""Drives the wires of Resource Manager, Resource Graph and the instance metadata service by Azure's SDKs."""

import copy
import json
import sys
import urllib.error
import urllib.request

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resourcegraph import ResourceGraphClient
from azure.mgmt.resourcegraph.models import QueryRequest, QueryRequestOptions

URL = sys.argv[1]
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = "rg-lab"


class Plain(SansIOHTTPPolicy):
    """The SDK's own policy sends tokens by https only."""

    def __init__(self, token):
        super().__init__()
        self.token = token

    def on_request(self, request):
        if self.token is not None:
            request.http_request.headers["Authorization"] = f"Bearer {self.token}"


class NoCredential:
    def get_token(self, *scopes, **options):
        raise AssertionError("the policy has the token")


def client(token):
    return NetworkManagementClient(
        NoCredential(), SUBSCRIPTION, base_url=URL, authentication_policy=Plain(token), polling_interval=1,
        retry_total=0)


def http(method, path, headers=None, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read() or b"null")


def refused(status, code, words, act):
    try:
        act()
    except HttpResponseError as error:
        assert error.status_code in (status, None), error
        assert error.error.code == code, error.error
        assert words in str(error), error
        return error
    raise AssertionError(f"{code} was expected")


def addresses(nics, name):
    found = nics.get(GROUP, name)
    return [held.properties.private_ip_address for held in found.properties.ip_configurations]


def secondary(nic, name, address):
    subnet = nic["properties"]["ipConfigurations"][0]["properties"]["subnet"]
    return {"name": name, "properties": {
        "primary": False, "privateIPAllocationMethod": "Static", "privateIPAddress": address, "subnet": subnet}}


def document(nics, name):
    return json.loads(json.dumps(nics.get(GROUP, name).as_dict(exclude_readonly=False)))


def put(nics, name, body, etag):
    return nics.begin_create_or_update(GROUP, name, body, headers={"If-Match": etag}).result()


def read(nics):
    assert [nic.name for nic in nics.list(GROUP)] == ["nic-a", "nic-b", "nic-c"], "over two pages"
    nic = nics.get(GROUP, "nic-a")
    assert nic.etag.startswith('W/"'), nic.etag
    assert nic.properties.mac_address == "00-0D-3A-00-00-0A", nic
    assert nic.properties.provisioning_state == "Succeeded", nic
    assert nic.properties.enable_ip_forwarding is False, nic
    assert nic.properties.virtual_machine.id.endswith("/virtualMachines/azure-a"), nic
    assert nic.tags == {"sam-group": "lab"}, nic
    first, second = nic.properties.ip_configurations
    assert first.properties.primary and not second.properties.primary
    assert second.properties.private_ip_address == "10.77.60.10"
    assert second.id.endswith("/networkInterfaces/nic-a/ipConfigurations/" + second.name), second.id
    refused(404, "ResourceNotFound", "nic-x", lambda: nics.get(GROUP, "nic-x"))


def replaced(nics):
    nic = document(nics, "nic-a")
    assert nic["properties"]["ofTheFuture"] == {"kept": [1, 2]}, nic
    nic["properties"]["ipConfigurations"].append(secondary(nic, "sam-10-77-60-11", "10.77.60.11"))
    nic["properties"]["enableIPForwarding"] = True
    changed = put(nics, "nic-a", nic, nic["etag"])
    assert changed.properties.provisioning_state == "Succeeded", changed
    assert changed.properties.enable_ip_forwarding is True
    assert addresses(nics, "nic-a") == ["10.77.60.4", "10.77.60.10", "10.77.60.11"]
    after = document(nics, "nic-a")
    assert after["properties"]["ofTheFuture"] == {"kept": [1, 2]}, "fields that nobody knows stay"
    stale = refused(412, "PreconditionFailed", "", lambda: put(nics, "nic-a", nic, nic["etag"]))
    assert stale.error.details[0].code == "PreconditionFailedEtagMismatch", stale.error

    # What a document lacks is reset.
    poor = copy.deepcopy(after)
    del poor["properties"]["enableAcceleratedNetworking"], poor["properties"]["enableIPForwarding"]
    put(nics, "nic-a", poor, after["etag"])
    lost = document(nics, "nic-a")["properties"]
    assert "enableAcceleratedNetworking" not in lost and lost["enableIPForwarding"] is False, lost


def conflicts(nics):
    nic = document(nics, "nic-b")
    own = nic["properties"]["ipConfigurations"]

    def with_address(address):
        body = copy.deepcopy(nic)
        body["properties"]["ipConfigurations"].append(secondary(nic, "sam-x", address))
        return lambda: put(nics, "nic-b", body, nic["etag"])

    held = "/networkInterfaces/nic-a/ipConfigurations/sam-10-77-60-11"
    refused(400, "PrivateIPAddressIsAllocated", held, with_address("10.77.60.11"))
    refused(400, "PrivateIPAddressIsAllocated", "/networkInterfaces/nic-c/", with_address("10.77.60.20"))
    refused(400, "PrivateIPAddressNotInSubnet", "10.77.61.1", with_address("10.77.61.1"))
    refused(400, "PrivateIPAddressInReservedRange", "10.77.60.3", with_address("10.77.60.3"))
    renamed = copy.deepcopy(nic)
    renamed["properties"]["ipConfigurations"][0]["name"] = "other"
    refused(400, "IpConfigDeleteNotSupported", "primary", lambda: put(nics, "nic-b", renamed, nic["etag"]))
    empty = copy.deepcopy(nic)
    empty["properties"]["ipConfigurations"] = []
    refused(400, "InvalidIPConfigCount", "", lambda: put(nics, "nic-b", empty, nic["etag"]))
    assert len(own) == 1 and addresses(nics, "nic-b") == ["10.77.60.5"]


def two_steps(nics):
    source = document(nics, "nic-a")
    configurations = source["properties"]["ipConfigurations"]
    source["properties"]["ipConfigurations"] = [held for held in configurations if held["name"] != "sam-10-77-60-11"]
    put(nics, "nic-a", source, source["etag"])
    target = document(nics, "nic-b")
    target["properties"]["ipConfigurations"].append(secondary(target, "sam-10-77-60-11", "10.77.60.11"))
    put(nics, "nic-b", target, target["etag"])
    assert addresses(nics, "nic-a") == ["10.77.60.4", "10.77.60.10"]
    assert addresses(nics, "nic-b") == ["10.77.60.5", "10.77.60.11"]


def superseded(nics):
    nic = document(nics, "nic-b")
    first = copy.deepcopy(nic)
    first["properties"]["ipConfigurations"].append(secondary(nic, "sam-30", "10.77.60.30"))
    overtaken = nics.begin_create_or_update(GROUP, "nic-b", first)
    assert addresses(nics, "nic-b") == ["10.77.60.5", "10.77.60.11"], "not yet"
    assert nics.get(GROUP, "nic-b").properties.provisioning_state == "Updating"
    nics.begin_create_or_update(GROUP, "nic-b", nic).result()
    refused(200, "CanceledAndSupersededDueToAnotherOperation", "", overtaken.result)
    assert addresses(nics, "nic-b") == ["10.77.60.5", "10.77.60.11"]


def moved(azure, nics):
    def item(source, target, name):
        prefix = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network/networkInterfaces"
        return {"sourceIpConfiguration": {"id": f"{prefix}/{source}/ipConfigurations/{name}"},
                "targetIpConfiguration": {"id": f"{prefix}/{target}/ipConfigurations/{name}"}}

    def move(source, target, name):
        body = {"moveIpConfigurationItems": [item(source, target, name)]}
        return azure.virtual_networks.begin_move_ip_configurations(GROUP, "vnet-lab", body).result()

    move("nic-b", "nic-a", "sam-10-77-60-11")
    assert addresses(nics, "nic-a") == ["10.77.60.4", "10.77.60.10", "10.77.60.11"]
    assert addresses(nics, "nic-b") == ["10.77.60.5"]
    refused(404, "ResourceNotFound", "sam-10-77-60-11", lambda: move("nic-b", "nic-a", "sam-10-77-60-11"))
    refused(400, "IpConfigDeleteNotSupported", "", lambda: move("nic-b", "nic-a", "ipconfig-10-77-60-5"))
    check = azure.virtual_networks.check_ip_address_availability(GROUP, "vnet-lab", ip_address="10.77.60.11")
    assert check.available is False, check
    check = azure.virtual_networks.check_ip_address_availability(GROUP, "vnet-lab", ip_address="10.77.60.12")
    assert check.available is True, check


def identities(nics):
    refused(401, "InvalidAuthenticationToken", "", lambda: client("forged").network_interfaces.get(GROUP, "nic-a"))
    refused(401, "AuthenticationFailed", "", lambda: client(None).network_interfaces.get(GROUP, "nic-a"))
    guest = client("guest-token").network_interfaces
    nic = document(guest, "nic-a")
    refused(403, "AuthorizationFailed", "Microsoft.Network/networkInterfaces/write",
            lambda: put(guest, "nic-a", nic, nic["etag"]))


def metadata():
    base = "/instances/azure-b/metadata"
    said = {"Metadata": "true"}
    for path, headers in [("/instance?api-version=2021-02-01", {}), ("/instance", said)]:
        try:
            http("GET", base + path, headers)
            raise AssertionError("header and version are required")
        except urllib.error.HTTPError as error:
            assert error.code == 400, error
    facts = http("GET", base + "/instance?api-version=2021-02-01", said)
    assert facts["compute"]["subscriptionId"] == SUBSCRIPTION, facts
    interface = facts["network"]["interface"][0]
    assert interface["macAddress"] == "000D3A00000B", interface
    assert interface["ipv4"]["subnet"] == [{"address": "10.77.60.0", "prefix": "24"}], interface
    path = base + "/identity/oauth2/token?api-version=2018-02-01&resource="
    token = http("GET", path + "https://management.azure.com/", said)["access_token"]
    assert addresses(client(token).network_interfaces, "nic-b") == ["10.77.60.5"]
    other = http("GET", path + "https://storage.azure.com/", said)["access_token"]
    refused(401, "InvalidAuthenticationToken", "audience",
            lambda: client(other).network_interfaces.get(GROUP, "nic-b"))


def faults(nics):
    nic = document(nics, "nic-b")
    http("POST", "/fakecloud/faults", body={"operation": "PutNetworkInterface", "times": 1, "effect": "failOperation"})
    body = copy.deepcopy(nic)
    body["properties"]["ipConfigurations"].append(secondary(nic, "sam-40", "10.77.60.40"))
    refused(200, "InternalServerError", "", lambda: put(nics, "nic-b", body, nic["etag"]))
    assert addresses(nics, "nic-b") == ["10.77.60.5"], "accepted, and without effect"
    http("POST", "/fakecloud/faults", body={
        "operation": "GetNetworkInterface", "times": 1,
        "effect": {"refuse": {"status": 429, "code": "TooManyRequests", "retryAfter": 3}}})
    busy = refused(429, "TooManyRequests", "", lambda: nics.get(GROUP, "nic-b"))
    assert busy.response.headers["Retry-After"] == "3", busy.response.headers


def graph():
    def states(group, token="azure-token"):
        azure = ResourceGraphClient(
            NoCredential(), base_url=URL, authentication_policy=Plain(token), retry_total=0)
        query = ("Resources | where type =~ 'microsoft.compute/virtualmachines' | where resourceGroup =~ "
                 f"'{group}' | project id, state = tostring(properties.extended.instanceView.powerState.code)"
                 " | order by id asc")
        found, token = {}, None
        while True:
            options = QueryRequestOptions(result_format="objectArray", top=2, skip_token=token)
            page = azure.resources(QueryRequest(subscriptions=[SUBSCRIPTION], query=query, options=options))
            assert page.count == len(page.data) <= 2, page
            found.update((row["id"].rsplit("/", 1)[1], row["state"]) for row in page.data)
            token = page.skip_token
            if not token:
                assert page.total_records == len(found), page
                return found

    running = dict.fromkeys(["azure-a", "azure-b", "azure-c"], "PowerState/running")
    assert states(GROUP.upper()) == running
    http("POST", "/fakecloud/instances/azure-c/stop")
    assert states(GROUP) == {**running, "azure-c": "PowerState/deallocated"}
    http("POST", "/fakecloud/instances/azure-c/start")
    assert states("another") == {}
    http("POST", "/fakecloud/faults", body={"operation": "ListResources", "times": 1, "effect": "revoke"})
    assert states(GROUP) == {}, "what one may not read is not there"


def main():
    azure = client("azure-token")
    nics = azure.network_interfaces
    read(nics)
    replaced(nics)
    conflicts(nics)
    two_steps(nics)
    superseded(nics)
    moved(azure, nics)
    identities(nics)
    metadata()
    graph()
    faults(nics)


main()
