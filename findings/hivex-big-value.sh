#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# libhivex-bin (python3-hivex) 1.3.23-1+b1, python3-libregf 20201007-2+b2, reglookup 1.0.1+svn287-9: a registry value
# of 20,480 bytes in a hive of version 1.5, where data above 16,344 bytes belong into a "db" record of segments.
# Guess before: hivex writes a db record, and the other two read the same bytes.
# Seen: hivex writes one plain cell and reads it back. libregf refuses the value ("unsupported data block key
# signature"), and the values behind it are lost to whoever stops there; reglookup reads it without a word. In a hive
# of version 1.3, which has no db records, all three agree.
. "$(dirname "$0")/common.bash"
unpack python3-hivex=1.3.23-1+b1 python3-libregf=20201007-2+b2 reglookup=1.0.1+svn287-9
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
cat >root/big.py <<'END'
import hivex, pyregf
data = bytes(range(256)) * 80
h = hivex.Hivex('/tmp/h', write=True)
key = h.node_add_child(h.root(), 'Key')
h.node_set_value(key, {'key': 'Big', 't': 3, 'value': data})
h.commit(None)
h = hivex.Hivex('/tmp/h')
key = h.node_get_child(h.root(), 'Key')
print('hivex', h.value_value(h.node_get_value(key, 'Big'))[1] == data, 'db records',
      open('/tmp/h', 'rb').read().count(b'db\2\0'))
f = pyregf.file()
f.open('/tmp/h')
try:
    v = f.get_root_key().get_sub_key_by_name('Key').get_value(0)
    print('libregf', v.data == data)
except OSError as e:
    print('libregf refuses', 'data block key signature' in str(e))
END
seen=$(inside <<'END'
python3 /hive.py /tmp/h
python3 /big.py
reglookup -t BINARY /tmp/h 2>/dev/null | tail -n +2 | cut -c-24
END
)
expect "hivex, libregf, reglookup" "$(echo "$seen" | paste -sd,)" \
	"hivex True db records 0,libregf refuses True,/Key/Big,BINARY,%00%01%0"
