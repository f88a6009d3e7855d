/** What tools of other systems print; the samples are of their documentation and of known versions, not made here. */
import { describe, expect, it } from 'vitest';
import { localEnd, parseLsof } from '../../../../shared/ports/diagnosis/lsof.ts';
import {
  parseExcludedRanges,
  parseNetstat,
  parseTasklist,
} from '../../../../shared/ports/diagnosis/netstat.ts';

describe('lsof', () => {
  it('names the processes of sockets', () => {
    const text =
      'p412\ncControlCenter\nf9\nn*:7000\nf10\nn*:7000\np7731\ncnginx\nf6\nn127.0.0.1:8080\nn[::1]:8080\n';
    expect(parseLsof(text)).toEqual([
      { pid: 412, command: 'ControlCenter', type: '', name: '*:7000' },
      { pid: 412, command: 'ControlCenter', type: '', name: '*:7000' },
      { pid: 7731, command: 'nginx', type: '', name: '127.0.0.1:8080' },
      { pid: 7731, command: 'nginx', type: '', name: '[::1]:8080' },
    ]);
    expect(parseLsof('')).toEqual([]);
    expect(parseLsof('n*:1\nlsof: no such file\n')).toEqual([]);
  });

  it('tells the families of wildcards apart where it is asked to', () => {
    const text = 'p412\nf9\ntIPv4\nn*:7000\nf10\ntIPv6\nn*:7000\nf11\nn*:7001\n';
    expect(parseLsof(text).map(({ type, name }) => [type, name])).toEqual([
      ['IPv4', '*:7000'],
      ['IPv6', '*:7000'],
      ['', '*:7001'],
    ]);
  });

  it.each([
    ['*:80', false, '0.0.0.0'],
    ['*:80', true, '::'],
    ['127.0.0.1:80', false, '127.0.0.1'],
    ['[::1]:80', true, '::1'],
    ['[fe80:1::1]:80->[fe80:1::2]:90', true, 'fe80:1::1'],
    ['127.0.0.1:80->127.0.0.1:51000', false, '127.0.0.1'],
    ['/tmp/x', false, undefined],
    ['*:*', false, undefined],
  ])('%s is at the address it says', (name, six, ip) => {
    expect(localEnd(name, six)).toEqual(ip === undefined ? undefined : { ip, port: 80 });
  });
});

describe('the tools of Windows', () => {
  it('netstat names sockets and processes, in any language', () => {
    const text = [
      '',
      'Active Connections',
      '',
      '  Proto  Local Address          Foreign Address        State           PID',
      '  TCP    0.0.0.0:135            0.0.0.0:0              LISTENING       1012',
      '  TCP    127.0.0.1:49700        127.0.0.1:8080         ESTABLISHED     5000',
      '  TCP    [::]:445               [::]:0                 ABHÖREN         4',
      '  TCP    [fe80::1%4]:139        [::]:0                 En escucha      4',
      '  UDP    0.0.0.0:500            *:*                                    4516',
      '  UDP    [::1]:1900             *:*                                    2200',
    ].join('\r\n');
    expect(parseNetstat(text)).toEqual([
      { protocol: 'tcp', ip: '0.0.0.0', port: 135, pid: 1012, listens: true },
      { protocol: 'tcp', ip: '127.0.0.1', port: 49700, pid: 5000, listens: false },
      { protocol: 'tcp', ip: '::', port: 445, pid: 4, listens: true },
      { protocol: 'tcp', ip: 'fe80::1%4', port: 139, pid: 4, listens: true },
      { protocol: 'udp', ip: '0.0.0.0', port: 500, pid: 4516, listens: false },
      { protocol: 'udp', ip: '::1', port: 1900, pid: 2200, listens: false },
    ]);
  });

  it('tasklist names a process, or says that there is none', () => {
    expect(parseTasklist('"svchost.exe","1012","Services","0","9,876 K"\r\n', 1012)).toBe('svchost.exe');
    expect(
      parseTasklist('INFO: No tasks are running which match the specified criteria.\r\n', 1),
    ).toBeUndefined();
  });

  it('netsh lists the ranges that nobody may bind', () => {
    const text = [
      '',
      'Protocol tcp Port Exclusion Ranges',
      '',
      'Start Port    End Port      ',
      '----------    --------      ',
      '      5357        5357      ',
      '     50000       50059     *',
      '',
      '* - Administered port exclusions.',
    ].join('\r\n');
    expect(parseExcludedRanges(text)).toEqual([
      { first: 5357, last: 5357 },
      { first: 50000, last: 50059 },
    ]);
  });
});
