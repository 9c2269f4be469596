#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# python3-hivex 1.3.23-1+b1: what of the times in a hive tells that a value was changed offline?
# Guess before: setting a value gives its key a new last-write time, and the commit a new one to the hive's header.
# Seen: neither changes; a new key is made with time 0 (1601). Only the two sequence numbers go up by one. So "when
# was this driver's Start changed" cannot be answered from the times, and a hive that was mended looks untouched by
# them.
. "$(dirname "$0")/common.bash"
unpack python3-hivex=1.3.23-1+b1
cat >root/hive.py <<'END'
# An empty hive of version 1.5: header, one bin with the root key and its security descriptor.
import struct, sys
none = 0xffffffff
key = struct.pack('<2sHQ15IHH4s', b'nk', 0x2c, 0, 0, 0, 0, 0, none, none, 0, none, 0x80, none, 0, 0, 0, 0, 0, 4, 0,
                  b'root')
security = bytes([1, 0, 4, 0x80]) + bytes(16)
cells = struct.pack('<i', -0x60) + key.ljust(0x5c, b'\0')
cells += (struct.pack('<i2sHIIII', -0x30, b'sk', 0, 0x80, 0x80, 1, len(security)) + security).ljust(0x30, b'\0')
rest = 0x1000 - 0x20 - len(cells)
cells += struct.pack('<i', rest).ljust(rest, b'\0')
head = bytearray(struct.pack('<4sIIQIIIIII', b'regf', 1, 1, 0, 1, 5, 0, 1, 0x20, 0x1000).ljust(0x1000, b'\0'))
struct.pack_into('<I', head, 44, 1)
total = 0
for i in range(0, 508, 4):
    total ^= struct.unpack_from('<I', head, i)[0]
struct.pack_into('<I', head, 508, total)
open(sys.argv[1], 'wb').write(bytes(head) + struct.pack('<4sIIQQI', b'hbin', 0, 0x1000, 0, 0, 0) + cells)
END
cat >root/times.py <<'END'
import hivex, struct
def header():
    return struct.unpack_from('<IIQ', open('/tmp/h', 'rb').read(), 4)
h = hivex.Hivex('/tmp/h', write=True)
h.node_add_child(h.root(), 'Key')
h.commit(None)
before = header()
h = hivex.Hivex('/tmp/h', write=True)
key = h.node_get_child(h.root(), 'Key')
new = h.node_timestamp(key)
h.node_set_value(key, {'key': 'Start', 't': 4, 'value': bytes(4)})
h.commit(None)
after = header()
h = hivex.Hivex('/tmp/h')
print(new, h.node_timestamp(h.node_get_child(h.root(), 'Key')), after[2] == before[2],
      after[0] - before[0], after[1] - before[1])
END
seen=$(inside <<'END'
python3 /hive.py /tmp/h
python3 /times.py
END
)
expect "time of a new key, after its value was set; header's time the same; sequence numbers" "$seen" "0 0 True 1 1"
