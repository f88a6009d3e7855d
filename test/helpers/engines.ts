/** The engines that run on this machine, for suites that run on each. */
import { messageOf } from '../../shared/errors.ts';

/** Why the Linux engine does not run here; undefined when it does. */
export const whyNotLinux: string | undefined = await (async () => {
  if (process.platform !== 'linux') return `this is ${process.platform}`;
  try {
    const { loadLibc } = await import('../../shared/platform/linux/libc.ts');
    await loadLibc();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
})();

if (whyNotLinux !== undefined) console.log(`the Linux engine is not tested: ${whyNotLinux}`);

export type EngineName = 'portable' | 'linux';
export const engines: readonly EngineName[] =
  whyNotLinux === undefined ? ['portable', 'linux'] : ['portable'];

/** What the integration suites run on. */
export const lanesAndEngines = lanesOnEngines('dedicated', 'multiplexed');
/** Besides, streams that the shim opens: only who opened them differs, so one engine will do (conformance has both). */
export const allLanesAndEngines = [
  ...lanesAndEngines,
  ...lanesOnEngines('shim-dialled').filter(([, engine]) => engine === engines.at(-1)),
];

function lanesOnEngines<Lane extends string>(...lanes: Lane[]): Array<readonly [Lane, EngineName]> {
  return engines.flatMap((engine) => lanes.map((lane) => [lane, engine] as const));
}
