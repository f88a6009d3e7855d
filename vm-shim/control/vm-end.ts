/** The link of a shim whose transport is one stream that it has from its start. */
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../shared/logger.ts';
import { type Bridge, needBridge } from '../../shared/transport/bridge.ts';
import type { VmEndAddress } from '../../shared/transport/link-address.ts';
import {
  leavePort,
  openSerialDevice,
  type SerialAddress,
  serveSerial,
} from '../../shared/transport/serial.ts';
import { ownStdio } from '../../shared/transport/stdio.ts';
import type { HostLinks } from './host-links.ts';

/** How long a serial port that was lost is left alone before it is opened again, milliseconds. */
const REOPEN_MS = 1_000;

export interface VmEndOptions {
  readonly links: HostLinks;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly bridge: Bridge | undefined;
}

/**
 * Serves the stream until it ends. Stdin and stdout cannot come back, so that is the end of the shim; a serial port has
 * one session after the other.
 * @throws BridgeError when there is no such stream, and for stdio what establishing the link throws
 */
export async function serveVmEnd(address: VmEndAddress, options: VmEndOptions): Promise<void> {
  const { links } = options;
  if (address.scheme === 'serial') return serveDevice(address, options);
  const stream = ownStdio();
  await links.serve(await links.establish(stream, false));
}

async function serveDevice(address: SerialAddress, options: VmEndOptions): Promise<void> {
  const { links, log, signal, bridge } = options;
  let fd = openSerialDevice(address);
  const serve = async (session: Duplex): Promise<void> => {
    try {
      await links.serve(await links.establish(session, false));
    } catch (error) {
      links.admission.report(error);
    }
  };
  for (;;) {
    const port = needBridge(address, bridge).device(fd);
    await serveSerial(port, signal, serve);
    if (signal.aborted) return leavePort(port);
    port.destroy();
    log.warn({ url: address.url }, 'the serial port was lost; it is opened again');
    await delay(REOPEN_MS, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    fd = openSerialDevice(address);
  }
}
