"""Drives the EC2 wire and the instance metadata service by boto3."""

import json
import os
import sys
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

URL = sys.argv[1]
REGION = "eu-central-1"


def client(key=None, secret=None, **config):
    config = Config(retries={"total_max_attempts": 1}, read_timeout=5, **config)
    session = boto3.session.Session(aws_access_key_id=key, aws_secret_access_key=secret)
    return session.client("ec2", region_name=REGION, endpoint_url=URL, config=config)


def http(method, path, headers=None, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def refused(code, words, act, **arguments):
    try:
        act(**arguments)
    except ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, found
        assert words in found["Message"], found
        assert error.response["ResponseMetadata"]["RequestId"], error.response
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"{code} was expected")


def addresses(ec2, nic):
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=[nic])["NetworkInterfaces"]
    return [held["PrivateIpAddress"] for held in found[0]["PrivateIpAddresses"]]


def described(ec2):
    found = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert [nic["NetworkInterfaceId"] for nic in found] == ["eni-0a", "eni-0b", "eni-0c"]
    first = found[0]
    assert first["MacAddress"] == "02:00:00:00:0a:0a", first
    assert first["SourceDestCheck"] is True, first
    assert first["Attachment"]["InstanceId"] == "i-0a", first
    assert first["TagSet"] == [{"Key": "sam-group", "Value": "lab"}], first
    assert first["PrivateIpAddresses"][0] == {"PrivateIpAddress": "10.77.60.4", "Primary": True}
    assert first["PrivateIpAddresses"][1] == {"PrivateIpAddress": "10.77.60.10", "Primary": False}
    for name, values, wanted in [
        ("addresses.private-ip-address", ["10.77.60.10"], ["eni-0a"]),
        ("private-ip-address", ["10.77.60.10"], []),
        ("tag:sam-group", ["l*"], ["eni-0a", "eni-0b"]),
        ("attachment.instance-id", ["i-0c", "i-0b"], ["eni-0b", "eni-0c"]),
        ("subnet-id", ["subnet-0b"], []),
    ]:
        filters = [{"Name": name, "Values": values}]
        found = ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
        assert [nic["NetworkInterfaceId"] for nic in found] == wanted, (name, found)
    refused("InvalidParameterValue", "filter", ec2.describe_network_interfaces,
            Filters=[{"Name": "colour", "Values": ["red"]}])
    refused("InvalidNetworkInterfaceID.NotFound", "eni-0x", ec2.describe_network_interfaces,
            NetworkInterfaceIds=["eni-0x"])

    machines = ec2.describe_instances()["Reservations"]
    states = {item["Instances"][0]["InstanceId"]: item["Instances"][0]["State"]["Name"] for item in machines}
    assert states == {"i-0a": "running", "i-0b": "running", "i-0c": "stopped"}, states
    machine = ec2.describe_instances(InstanceIds=["i-0a"])["Reservations"][0]["Instances"][0]
    assert machine["MetadataOptions"]["HttpTokens"] == "required", machine
    assert machine["MetadataOptions"]["HttpPutResponseHopLimit"] == 1, machine
    assert machine["NetworkInterfaces"][0]["PrivateIpAddresses"][1]["PrivateIpAddress"] == "10.77.60.10"
    by_state = [{"Name": "instance-state-name", "Values": ["stopped"]}]
    assert len(ec2.describe_instances(Filters=by_state)["Reservations"]) == 1
    by_address = [{"Name": "network-interface.addresses.private-ip-address", "Values": ["10.77.60.5"]}]
    assert len(ec2.describe_instances(Filters=by_address)["Reservations"]) == 1

    subnet = ec2.describe_subnets(SubnetIds=["subnet-0a"])["Subnets"][0]
    assert subnet["CidrBlock"] == "10.77.60.0/24", subnet
    assert subnet["AvailableIpAddressCount"] == 256 - 5 - 4, subnet
    kinds = ec2.describe_instance_types(InstanceTypes=["t3.small"])["InstanceTypes"]
    assert kinds[0]["NetworkInfo"]["Ipv4AddressesPerInterface"] == 4, kinds


def paged(ec2):
    pages = ec2.get_paginator("describe_network_interfaces").paginate(PaginationConfig={"PageSize": 5})
    assert len([nic for page in pages for nic in page["NetworkInterfaces"]]) == 3
    refused("InvalidParameterValue", "nextToken", ec2.describe_network_interfaces, NextToken="forged")


def assigned(ec2):
    answer = ec2.assign_private_ip_addresses(
        NetworkInterfaceId="eni-0a", PrivateIpAddresses=["10.77.60.11", "10.77.60.12"])
    listed = [held["PrivateIpAddress"] for held in answer["AssignedPrivateIpAddresses"]]
    assert listed == ["10.77.60.11", "10.77.60.12"], answer
    again = dict(NetworkInterfaceId="eni-0a", PrivateIpAddresses=["10.77.60.11"])
    ec2.assign_private_ip_addresses(**again)
    assert addresses(ec2, "eni-0a") == ["10.77.60.4", "10.77.60.10", "10.77.60.11", "10.77.60.12"]

    other = dict(NetworkInterfaceId="eni-0b", PrivateIpAddresses=["10.77.60.11"])
    refused("InvalidParameterValue", "[10.77.60.11] assigned, but move is not allowed.",
            ec2.assign_private_ip_addresses, **other)
    ec2.assign_private_ip_addresses(AllowReassignment=True, **other)
    assert addresses(ec2, "eni-0a") == ["10.77.60.4", "10.77.60.10", "10.77.60.12"]
    assert addresses(ec2, "eni-0b") == ["10.77.60.5", "10.77.60.11"]

    for bad, words in [
        ("10.77.60.20", "secondary-addresses"),
        ("10.77.61.9", "does not fall within the subnet's address range"),
        ("10.77.60.3", "reserved address range"),
        ("10.77.60.255", "reserved address range"),
    ]:
        # All or nothing: the good one stays free.
        refused("InvalidParameterValue", words, ec2.assign_private_ip_addresses, AllowReassignment=True,
                NetworkInterfaceId="eni-0b", PrivateIpAddresses=["10.77.60.30", bad])
    assert addresses(ec2, "eni-0b") == ["10.77.60.5", "10.77.60.11"]
    refused("PrivateIpAddressLimitExceeded", "limit", ec2.assign_private_ip_addresses,
            NetworkInterfaceId="eni-0b", PrivateIpAddresses=["10.77.60.30", "10.77.60.31", "10.77.60.32"])
    refused("MissingParameter", "privateIpAddressSet", ec2.assign_private_ip_addresses,
            NetworkInterfaceId="eni-0b")
    counted = ec2.assign_private_ip_addresses(NetworkInterfaceId="eni-0b", SecondaryPrivateIpAddressCount=1)
    free = counted["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"]
    assert free == "10.77.60.6", counted
    ec2.unassign_private_ip_addresses(NetworkInterfaceId="eni-0b", PrivateIpAddresses=[free])


def unassigned(ec2):
    refused("InvalidParameterValue", "Some of the specified addresses are not assigned to interface eni-0a",
            ec2.unassign_private_ip_addresses, NetworkInterfaceId="eni-0a",
            PrivateIpAddresses=["10.77.60.12", "10.77.60.11"])
    refused("InvalidParameterValue", "10.77.60.4", ec2.unassign_private_ip_addresses,
            NetworkInterfaceId="eni-0a", PrivateIpAddresses=["10.77.60.4"])
    ec2.unassign_private_ip_addresses(NetworkInterfaceId="eni-0a", PrivateIpAddresses=["10.77.60.12"])
    assert addresses(ec2, "eni-0a") == ["10.77.60.4", "10.77.60.10"]


def forwarding(ec2):
    change = dict(NetworkInterfaceId="eni-0a", SourceDestCheck={"Value": False})
    assert refused("DryRunOperation", "would have succeeded", ec2.modify_network_interface_attribute,
                   DryRun=True, **change) == 412
    read = dict(NetworkInterfaceId="eni-0a", Attribute="sourceDestCheck")
    assert ec2.describe_network_interface_attribute(**read)["SourceDestCheck"] == {"Value": True}
    ec2.modify_network_interface_attribute(**change)
    assert ec2.describe_network_interface_attribute(**read)["SourceDestCheck"] == {"Value": False}


def identities(ec2):
    wrong = client("AKIAROUTER", "not-the-secret")
    assert refused("AuthFailure", "validate", wrong.describe_network_interfaces) == 401
    nobody = client("AKIANOBODY", "router-secret")
    assert refused("AuthFailure", "validate", nobody.describe_network_interfaces) == 401
    reader = client("AKIAREADER", "reader-secret")
    reader.describe_network_interfaces()
    assert refused("UnauthorizedOperation", "ec2:UnassignPrivateIpAddresses", reader.unassign_private_ip_addresses,
                   NetworkInterfaceId="eni-0a", PrivateIpAddresses=["10.77.60.10"]) == 403
    assert refused("UnauthorizedOperation", "ec2:Modify", reader.modify_network_interface_attribute, DryRun=True,
                   NetworkInterfaceId="eni-0a", SourceDestCheck={"Value": True}) == 403
    # The NIC of the native machine lacks the tag.
    assert refused("UnauthorizedOperation", "eni-0c", ec2.assign_private_ip_addresses,
                   NetworkInterfaceId="eni-0c", PrivateIpAddresses=["10.77.60.40"]) == 403


def metadata():
    base = "/instances/i-0b"
    for path, headers in [("/latest/meta-data/mac", {}), ("/latest/meta-data/mac", {"X-aws-ec2-metadata-token": "x"})]:
        try:
            http("GET", base + path, headers)
            raise AssertionError("a token is required")
        except urllib.error.HTTPError as error:
            assert error.code == 401, error
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = http("PUT", base + "/latest/api/token", ttl)
    try:
        http("PUT", base + "/latest/api/token", {"X-Forwarded-For": "192.0.2.1", **ttl})
        raise AssertionError("no tokens through proxies")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error

    def fact(path):
        return http("GET", f"{base}/latest/{path}", {"X-aws-ec2-metadata-token": token})

    mac = fact("meta-data/mac")
    assert mac == "02:00:00:00:0a:0b"
    assert fact("meta-data/network/interfaces/macs/") == mac + "/"
    own = f"meta-data/network/interfaces/macs/{mac}/"
    assert fact(own + "interface-id") == "eni-0b"
    assert fact(own + "subnet-ipv4-cidr-block") == "10.77.60.0/24"
    assert fact(own + "local-ipv4s") == "10.77.60.5\n10.77.60.11"
    assert json.loads(fact("dynamic/instance-identity/document"))["region"] == REGION

    os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = URL + base
    ec2 = client()
    credentials = ec2._request_signer._credentials
    assert credentials.method == "iam-role", credentials.method
    assert addresses(ec2, "eni-0b") == ["10.77.60.5", "10.77.60.11"]
    ec2.unassign_private_ip_addresses(NetworkInterfaceId="eni-0b", PrivateIpAddresses=["10.77.60.11"])
    ledger = json.loads(http("GET", "/fakecloud/ledger"))["entries"]
    last = ledger[-1]
    assert (last["principal"], last["operation"], last["nic"]) == ("i-0b", "UnassignPrivateIpAddresses", "eni-0b")
    assert last["before"]["addresses"] == ["10.77.60.5", "10.77.60.11"], last
    assert last["after"]["addresses"] == ["10.77.60.5"], last


def faults(ec2):
    def order(**fault):
        http("POST", "/fakecloud/faults", body=fault)

    order(operation="Assign*", times=1, effect={"refuse": {"status": 503, "code": "RequestLimitExceeded"}})
    one = dict(NetworkInterfaceId="eni-0b", PrivateIpAddresses=["10.77.60.50"])
    assert refused("RequestLimitExceeded", "", ec2.assign_private_ip_addresses, **one) == 503
    for effect in ["loseRequest", "loseAnswer"]:
        order(operation="Assign*", times=1, effect=effect)
        try:
            ec2.assign_private_ip_addresses(**one)
            raise AssertionError("no answer was expected")
        except HTTPClientError:
            pass
        assert ("10.77.60.50" in addresses(ec2, "eni-0b")) == (effect == "loseAnswer")
    order(operation="Unassign*", times=1, effect="revoke")
    assert refused("UnauthorizedOperation", "", ec2.unassign_private_ip_addresses, **one) == 403
    order(operation="Assign*", times=1, effect={"partial": 1})
    two = ["10.77.60.51", "10.77.60.52"]
    assert refused("InternalError", "", ec2.assign_private_ip_addresses, NetworkInterfaceId="eni-0b",
                   PrivateIpAddresses=two) == 500
    assert addresses(ec2, "eni-0b") == ["10.77.60.5", "10.77.60.50", "10.77.60.51"]
    order(operation="DescribeNetworkInterfaces", times=1, effect={"stale": 3600})
    assert addresses(ec2, "eni-0b") == ["10.77.60.5"], "as it was an hour ago"
    ec2.unassign_private_ip_addresses(NetworkInterfaceId="eni-0b", PrivateIpAddresses=["10.77.60.50", "10.77.60.51"])
    assert json.loads(http("GET", "/fakecloud/faults")) == []


def main():
    ec2 = client("AKIAROUTER", "router-secret")
    described(ec2)
    paged(ec2)
    assigned(ec2)
    unassigned(ec2)
    forwarding(ec2)
    identities(ec2)
    metadata()
    faults(ec2)


main()
