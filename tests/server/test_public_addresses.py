"""Which IP addresses count as the public internet, also against Python's own reading of the same registries."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showtell.server.public_addresses import is_public

NAT64 = IPv6Network("64:ff9b::/96")

INWARD = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "this machine": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1", "fec0::1"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%eth0"],
    "metadata": ["169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "4000::1", "192.0.0.8", "198.18.0.1", "2001:2::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "mapped IPv4": [
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
    ],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8"],
    "6to4": ["2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001::1", "2001:0:53aa:64c::1"],
    "ISATAP": ["2600::5efe:10.0.0.1", "2600::200:5efe:10.0.0.1"],
}


@pytest.mark.parametrize("address", [address for kind in INWARD.values() for address in kind])
def test_addresses_that_lead_inward_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1"),
        *("168.63.129.15", "169.253.0.1", "192.167.0.1", "198.17.0.1", "198.20.0.1", "223.255.255.255"),
        *("2606:4700:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888", "2003::1"),
        "64:ff9b::8.8.8.8",  # how a network of IPv6 alone reaches it
    ],
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "8.8.8", "0x8.8.8.8", "134744072", "8.8.8.8 ", "08.8.8.8", "8.8.8.8%1"]
)
def test_what_is_no_address_in_digits_is_not_public(text):
    assert not is_public(text)


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_nothing_is_public_that_python_knows_to_be_special(address):
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_address_behind_nat64_is_as_public_as_the_address_in_it(address):
    wrapped = IPv6Address(int(NAT64.network_address) + int(address))
    assert is_public(str(wrapped)) == is_public(str(address))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_no_address_is_public_that_is_mapped_into_ipv6(address):
    assert not is_public(f"::ffff:{address}")
    assert not is_public(str(ip_address(f"::{address}")))
