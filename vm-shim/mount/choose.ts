import { BridgeError } from '../../shared/errors.ts';

/** Mounting is for Linux; other systems have no 9P client that we know how to use. @throws BridgeError UNSUPPORTED */
export function checkSystem(platform: NodeJS.Platform = process.platform): void {
  if (platform === 'linux') return;
  throw new BridgeError(
    'UNSUPPORTED',
    `only Linux can mount the control filesystem, this is ${platform}; portferry claim --control needs no mount`,
  );
}
