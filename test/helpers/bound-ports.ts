import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const LISTEN = '0A';

/** What the descriptors of a process are, by number: sockets, pipes, and all others. */
export interface DescriptorKinds {
  readonly sockets: number;
  readonly pipes: number;
  readonly others: number;
}

/** Where each descriptor of a process points, as proc(5) has it; one that closes meanwhile is left out. */
function links(pid: number): string[] {
  const found: string[] = [];
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      found.push(readlinkSync(`/proc/${pid}/fd/${fd}`));
    } catch {
      // closed since
    }
  }
  return found;
}

export function descriptorKinds(pid: number): DescriptorKinds {
  const all = links(pid);
  const sockets = all.filter((link) => link.startsWith('socket:')).length;
  const pipes = all.filter((link) => link.startsWith('pipe:')).length;
  return { sockets, pipes, others: all.length - sockets - pipes };
}

/** The TCP ports that a process listens on and the UDP ports that it has bound, as `tcp 8080`, in order. */
export function boundPorts(pid: number): string[] {
  const inodes = new Set(links(pid).map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1]));
  const ports = new Set<string>();
  for (const protocol of ['tcp', 'tcp6', 'udp', 'udp6']) {
    for (const line of readFileSync(`/proc/net/${protocol}`, 'latin1').split('\n').slice(1)) {
      const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/);
      if (local === undefined || !inodes.has(inode)) continue;
      // A UDP socket that is connected is a flow, and no port of ours.
      const serves = protocol.startsWith('tcp') ? state === LISTEN : /:0000$/.test(remote!);
      if (serves) ports.add(`${protocol.slice(0, 3)} ${Number.parseInt(local.split(':')[1]!, 16)}`);
    }
  }
  return [...ports].sort();
}
