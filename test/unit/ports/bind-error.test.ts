import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { bindError } from '../../../shared/ports/bind-error.ts';

const nodeError = (code: string) => Object.assign(new Error(`bind ${code}`), { code });

describe('bind errors', () => {
  it.each([
    ['EADDRINUSE', 'tcp', '0.0.0.0', 'PORT_IN_USE', 'Bind for 0.0.0.0:80 failed: port is already allocated'],
    ['EADDRINUSE', 'udp', '::1', 'PORT_IN_USE', 'Bind for [::1]:80 failed: port is already allocated'],
    [
      'EADDRNOTAVAIL',
      'tcp',
      '10.9.9.9',
      'ADDRESS_NOT_AVAILABLE',
      'listen tcp 10.9.9.9:80: bind: cannot assign requested address',
    ],
    [
      'EADDRNOTAVAIL',
      'udp',
      'fd00::9',
      'ADDRESS_NOT_AVAILABLE',
      'listen udp [fd00::9]:80: bind: cannot assign requested address',
    ],
    ['EACCES', 'tcp', '1.2.3.4', 'PERMISSION_DENIED', 'Bind for 1.2.3.4:80 failed: permission denied'],
    ['EPERM', 'udp', '1.2.3.4', 'PERMISSION_DENIED', 'Bind for 1.2.3.4:80 failed: permission denied'],
    [
      'EINVAL',
      'tcp',
      'fe80::1',
      'ADDRESS_NOT_AVAILABLE',
      'Bind for [fe80::1]:80 failed: a link-local address needs the name of its interface: [fe80::1%eth0]',
    ],
    ['EINVAL', 'tcp', 'fe80::1%eth9', 'IO', 'Bind for [fe80::1%eth9]:80: unexpected error EINVAL'],
    ['EINVAL', 'udp', '1.2.3.4', 'IO', 'Bind for 1.2.3.4:80: unexpected error EINVAL'],
    ['ENOBUFS', 'tcp', '1.2.3.4', 'IO', 'Bind for 1.2.3.4:80: unexpected error ENOBUFS'],
  ] as const)('%s on %s %s is %s', (name, protocol, ip, code, text) => {
    const cause = nodeError(name);
    const error = bindError(cause, { protocol, ip, port: 80 });
    expect(error.code).toBe(code);
    expect(error.message).toBe(text);
    expect(error.cause).toBe(cause);
  });

  it('an error without a name gives its message', () => {
    const request = { protocol: 'tcp', ip: '1.2.3.4', port: 80 } as const;
    expect(bindError(new Error('odd'), request).message).toBe('Bind for 1.2.3.4:80: unexpected error odd');
  });

  it('one of ours is left alone', () => {
    const ours = new BridgeError('REFUSED', 'no');
    expect(bindError(ours, { protocol: 'tcp', ip: '1.2.3.4', port: 80 })).toBe(ours);
  });
});
