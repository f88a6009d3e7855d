import type { PortDiagnosis } from './diagnosis.ts';

const NOTHING: PortDiagnosis = { findHolder: async () => undefined, whyDenied: async () => undefined };

/** What this system can tell of its ports. Loaded when first needed. */
export async function portDiagnosis(platform: NodeJS.Platform = process.platform): Promise<PortDiagnosis> {
  switch (platform) {
    case 'linux':
      return (await import('./linux.ts')).diagnosis;
    case 'darwin':
      return (await import('./macos.ts')).diagnosis;
    case 'win32':
      return (await import('./windows.ts')).diagnosis;
    default:
      return NOTHING;
  }
}

/**
 * Whether sockets of one user may listen at one TCP port, one at every address and one at a single address, which then
 * gets the clients: macOS allows that with SO_REUSEADDR, which libuv sets; Windows does without SO_EXCLUSIVEADDRUSE.
 */
export function letsTcpOverlap(platform: NodeJS.Platform = process.platform): boolean {
  return platform === 'darwin' || platform === 'win32';
}
