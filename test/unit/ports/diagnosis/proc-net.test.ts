import { endianness } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseProcNet, parseProcUnix } from '../../../../shared/ports/diagnosis/proc-net.ts';

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
// Taken from x86-64, kernel 6.1.
const TCP = `${HEAD}
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 34567 1 0000000000000000 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 23456 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 06 00000000:00000000 03:00000A5C 00000000     0        0 0 3 0000000000000000
   3: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 45678 1 0000000000000000 20 4 30 10 -1
`;
const TCP6 = `${HEAD}
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12346 1 0000000000000000 100 0 0 10 0
   2: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 12347 1 0000000000000000 100 0 0 10 0
`;
const UDP = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  412: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 19876 2 0000000000000000 0
`;
const UNIX = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 22481 /run/dbus/system bus
0000000000000000: 00000003 00000000 00000000 0001 03 22499
0000000000000000: 00000002 00000000 00010000 0001 01 22500 @/tmp/abstract
`;

describe.skipIf(endianness() !== 'LE')('the tables of /proc/net', () => {
  it('name sockets at a port, those in TIME_WAIT not among them', () => {
    expect(parseProcNet(TCP, 0x1f90)).toEqual([
      { ip: '127.0.0.1', port: 8080, listens: true, uid: 1000, inode: '34567' },
    ]);
    expect(parseProcNet(TCP, 80)).toEqual([
      { ip: '0.0.0.0', port: 80, listens: true, uid: 0, inode: '23456' },
    ]);
    expect(parseProcNet(TCP, 0xc350)).toMatchObject([{ listens: false, inode: '45678' }]);
    expect(parseProcNet(TCP, 8081)).toEqual([]);
  });

  it('name IPv6, and IPv4 in the guise of it', () => {
    expect(parseProcNet(TCP6, 22)).toMatchObject([{ ip: '::', uid: 0 }]);
    expect(parseProcNet(TCP6, 0x277)).toMatchObject([{ ip: '::1' }]);
    expect(parseProcNet(TCP6, 0x1f91)).toMatchObject([{ ip: '127.0.0.1', uid: 105 }]);
  });

  it('name UDP, whose state is another', () => {
    expect(parseProcNet(UDP, 53)).toEqual([
      { ip: '127.0.0.53', port: 53, listens: false, uid: 101, inode: '19876' },
    ]);
  });

  it('name the socket of a path, also one with a blank', () => {
    expect(parseProcUnix(UNIX, '/run/dbus/system bus')).toBe('22481');
    expect(parseProcUnix(UNIX, '/run/dbus/system')).toBeUndefined();
  });

  it('that are cut off or are something else name nothing', () => {
    fc.assert(
      fc.property(fc.nat({ max: TCP6.length }), fc.string(), (length, rest) => {
        for (const row of parseProcNet(TCP6.slice(0, length) + rest, 22))
          expect(row).toMatchObject({ port: 22 });
        parseProcUnix(UNIX.slice(0, length) + rest, '/x');
      }),
    );
  });
});
