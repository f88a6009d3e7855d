import type { Scene } from './scene.ts';

export interface Attack {
  readonly name: string;
  /** @returns what came of it, in a few words @throws Error when the host agent did not stand it as it should */
  run(scene: Scene): Promise<string>;
}
