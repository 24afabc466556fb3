"""Platform-independent hashes of strings that match TensorFlow's.

FarmHash (Pike & Alakuijala 2014, farmhashna::Hash64, which TensorFlow calls
Fingerprint64), SipHash-2-4 (Aumasson & Bernstein 2012) with a 128-bit key, and
the combination of two fingerprints in TensorFlow's feature crossing.
"""

from __future__ import annotations

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_ALL = 2**64 - 1


def _at(s: bytes, place: int, size: int = 8) -> int:
    return int.from_bytes(s[place : place + size], "little")


def _turn(x: int, by: int) -> int:
    """Rotate right."""
    x &= _ALL
    return (x >> by | x << (64 - by)) & _ALL


def _mix(x: int) -> int:
    x &= _ALL
    return x ^ x >> 47


def _join(u: int, v: int, mul: int) -> int:
    a = _mix((u ^ v) * mul)
    return _mix((v & _ALL ^ a) * mul) * mul & _ALL


def _weak(s: bytes, place: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_at(s, place + 8 * i) for i in range(4))
    a = (a + w) & _ALL
    b = _turn(b + a + z, 21)
    c = a
    a = (a + x + y) & _ALL
    return (a + z) & _ALL, (b + _turn(a, 44) + c) & _ALL


def fingerprint(s: bytes) -> int:
    """64-bit FarmHash of the bytes."""
    n = len(s)
    if n <= 16:
        return _up_to_16(s, n)
    if n <= 32:
        mul = _K2 + 2 * n
        a, b = _at(s, 0) * _K1, _at(s, 8)
        c, d = _at(s, n - 8) * mul, _at(s, n - 16) * _K2
        u = _turn(a + b, 43) + _turn(c, 30) + d
        return _join(u & _ALL, (a + _turn(b + _K2, 18) + c) & _ALL, mul)
    if n <= 64:
        mul = _K2 + 2 * n
        a, b = _at(s, 0) * _K2, _at(s, 8)
        c, d = _at(s, n - 8) * mul, _at(s, n - 16) * _K2
        y = (_turn(a + b, 43) + _turn(c, 30) + d) & _ALL
        z = _join(y, (a + _turn(b + _K2, 18) + c) & _ALL, mul)
        e, f = _at(s, 16) * mul, _at(s, 24)
        g, h = (y + _at(s, n - 32)) * mul, (z + _at(s, n - 24)) * mul
        u = _turn(e + f, 43) + _turn(g, 30) + h
        return _join(u & _ALL, (e + _turn(f + a, 18) + g) & _ALL, mul)
    return _long(s, n)


def _up_to_16(s: bytes, n: int) -> int:
    mul = _K2 + 2 * n
    if n >= 8:
        a, b = (_at(s, 0) + _K2) & _ALL, _at(s, n - 8)
        c = (_turn(b, 37) * mul + a) & _ALL
        return _join(c, (_turn(a, 25) + b) * mul & _ALL, mul)
    if n >= 4:
        return _join(n + (_at(s, 0, 4) << 3), _at(s, n - 4, 4), mul)
    if n > 0:
        y, z = s[0] + (s[n >> 1] << 8), n + (s[n - 1] << 2)
        return _mix(y * _K2 & _ALL ^ z * _K0 & _ALL) * _K2 & _ALL
    return _K2


def _long(s: bytes, n: int) -> int:
    x, y = 81, 81 * _K1 + 113
    z = _mix(y * _K2 + 113) * _K2
    v, w = (0, 0), (0, 0)
    x = x * _K2 + _at(s, 0)
    end = (n - 1) // 64 * 64
    for i in range(0, end, 64):
        x = _turn(x + y + v[0] + _at(s, i + 8), 37) * _K1
        y = _turn(y + v[1] + _at(s, i + 48), 42) * _K1
        x ^= w[1]
        y += v[0] + _at(s, i + 40)
        z = _turn(z + w[0], 33) * _K1
        v = _weak(s, i, v[1] * _K1, x + w[0])
        w = _weak(s, i + 32, z + w[1], y + _at(s, i + 16))
        x, z = z, x
    i, mul = n - 64, _K1 + ((z & 0xFF) << 1)
    w = (w[0] + (n - 1 & 63), w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x = _turn(x + y + v[0] + _at(s, i + 8), 37) * mul
    y = _turn(y + v[1] + _at(s, i + 48), 42) * mul
    x ^= w[1] * 9
    y += v[0] * 9 + _at(s, i + 40)
    z = _turn(z + w[0], 33) * mul
    v = _weak(s, i, v[1] * mul, x + w[0])
    w = _weak(s, i + 32, z + w[1], y + _at(s, i + 16))
    x, z = z, x
    first = _join(v[0], w[0], mul) + _mix(y) * _K0 + z
    return _join(first & _ALL, (_join(v[1], w[1], mul) + x) & _ALL, mul)


def sip_hash(s: bytes, key: tuple[int, int]) -> int:
    """64-bit SipHash-2-4 of the bytes."""
    k0, k1 = key[0] & _ALL, key[1] & _ALL
    v = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]
    whole = len(s) // 8 * 8
    words = [_at(s, i) for i in range(0, whole, 8)]
    words.append(_at(s, whole) | (len(s) & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0] = (v[0] + v[1]) & _ALL
        v[1] = _turn(v[1], 51) ^ v[0]
        v[0] = _turn(v[0], 32)
        v[2] = (v[2] + v[3]) & _ALL
        v[3] = _turn(v[3], 48) ^ v[2]
        v[0] = (v[0] + v[3]) & _ALL
        v[3] = _turn(v[3], 43) ^ v[0]
        v[2] = (v[2] + v[1]) & _ALL
        v[1] = _turn(v[1], 47) ^ v[2]
        v[2] = _turn(v[2], 32)


CROSS_KEY = 0xDECAFCAFFE
"""TensorFlow's initial value for the fingerprint of several columns."""


def joined(first: int, second: int) -> int:
    """Combine two fingerprints, in this order."""
    mul = 0xC6A4A7935BD1E995
    result = (first ^ mul ^ _mix(second * mul) * mul) & _ALL
    return _mix(_mix(result * mul) * mul & _ALL)
