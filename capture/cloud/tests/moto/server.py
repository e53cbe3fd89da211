"""Serves moto with a router's NIC, another one and a spare address each; says what there is, and ends with its input."""
import json
import logging
import os
import sys

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", MOTO_EC2_LOAD_DEFAULT_AMIS="false")

import boto3
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
ec2 = boto3.client("ec2", region_name="eu-central-1", endpoint_url=url)
vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.77.60.0/24")["Subnet"]["SubnetId"]
instance = ec2.run_instances(
    ImageId="ami-12345678", MinCount=1, MaxCount=1, SubnetId=subnet, InstanceType="t3.medium"
)["Instances"][0]
nic = instance["NetworkInterfaces"][0]
other = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.77.60.20")["NetworkInterface"]
print(json.dumps({
    "url": url, "vpc": vpc, "subnet": subnet, "instance": instance["InstanceId"],
    "nic": nic["NetworkInterfaceId"], "mac": nic["MacAddress"], "address": nic["PrivateIpAddress"],
    "other": other["NetworkInterfaceId"],
}), flush=True)
sys.stdin.read()
