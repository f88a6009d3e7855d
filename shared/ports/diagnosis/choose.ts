import type { PortDiagnosis } from './diagnosis.ts';

const NOTHING: PortDiagnosis = { findHolder: async () => undefined, whyDenied: async () => undefined };

/** What this system can tell of its ports. Loaded when first needed. */
export async function portDiagnosis(): Promise<PortDiagnosis> {
  switch (process.platform) {
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
