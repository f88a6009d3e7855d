import { silentLogger } from '../../../shared/logger.ts';
import type { Dialect } from '../../../shared/p9/types.ts';
import { PortServer, type PortServerOptions } from '../../../shared/portfs/port-server.ts';
import { duplexPair } from '../p9/duplex-pair.ts';
import { FakeDoor } from './fake-door.ts';
import { LinuxMount } from './linux-mount.ts';

/** A /port server in memory and ways to reach it. */
export function servePorts(options: Partial<PortServerOptions> = {}) {
  const door = new FakeDoor();
  const server = new PortServer({ log: silentLogger(), ...options });
  const dial = (through = door) => {
    const [near, far] = duplexPair();
    return { near, served: server.serve(far, through) };
  };
  const mount = async (dialect: Dialect, through = door) => {
    const { near, served } = dial(through);
    return { near, served, mount: await LinuxMount.mount(near, dialect) };
  };
  return { door, server, dial, mount };
}

export const SPEC = 'tcp:127.0.0.1:0:tcp:172.17.0.2:80';
export const RESOLVED = 'tcp:127.0.0.1:49153:tcp:172.17.0.2:80';
export const UNASKED = 'ERROR no request received. Please read the README.\n';
