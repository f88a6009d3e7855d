import { describe, expect, it } from 'vitest';
import { WorkerLog } from '../../../../shared/platform/linux/messages.ts';
import { PeerCheck, refusedCell } from '../../../../shared/platform/linux/peer-check.ts';
import { encodeSockaddr } from '../../../../shared/platform/linux/sockaddr.ts';
import { HOST_ONLY } from '../../../../shared/transport/peer-cids.ts';

const from = (cid: number) => encodeSockaddr({ family: 'vsock', cid, port: 1 });

describe('strangers', () => {
  it('are counted by all threads, and logged once', () => {
    const levels: string[] = [];
    const log = new WorkerLog((report) => levels.push(report.type === 'log' ? report.level : ''));
    const refused = refusedCell();
    const threads = [new PeerCheck(HOST_ONLY, refused, log), new PeerCheck(HOST_ONLY, refused, log)];
    expect(threads.map((each) => each.admits(from(2)))).toEqual([true, true]);
    for (const each of threads) for (const cid of [1, 3]) expect(each.admits(from(cid))).toBe(false);
    expect(refused[0]).toBe(4);
    expect(levels).toEqual(['warn', 'debug', 'debug', 'debug']);
  });

  it('are not known where a family has no CID', () => {
    const check = new PeerCheck(HOST_ONLY, refusedCell(), new WorkerLog(() => {}));
    expect(check.admits(encodeSockaddr({ family: 'unix', path: '/a' }))).toBe(true);
    expect(check.admits(encodeSockaddr({ family: 'ip', ip: '127.0.0.1', port: 1 }))).toBe(true);
  });
});
