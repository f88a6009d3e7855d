/** Unix sockets that a VM wants where they do not belong. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pack } from 'msgpackr';
import { listForwards } from '../../helpers/api.ts';
import { unixSpec, until } from '../../helpers/processes.ts';
import type { Attack } from '../attack.ts';
import { controlFrame } from '../raw-link.ts';
import type { Scene } from '../scene.ts';

const TEXT = 'keep me';

/** Paths that must be refused, and what must be as it was behind that. */
function traps(scene: Scene): { paths: string[]; check: () => Promise<void> } {
  const dir = join(scene.group.dir, 'traps');
  mkdirSync(dir);
  const file = join(dir, 'file');
  writeFileSync(file, TEXT);
  symlinkSync(file, join(dir, 'to-file'));
  symlinkSync(scene.api, join(dir, 'to-api'));
  symlinkSync(join(dir, 'nowhere'), join(dir, 'dangling'));
  const paths = [
    file,
    dir,
    scene.api,
    join(dir, 'to-file'),
    join(dir, 'to-api'),
    join(dir, 'dangling'),
    `${dir}/missing/x.sock`,
    `${dir}/nul\u0000.sock`,
    `${dir}/${'l'.repeat(120)}.sock`,
    'relative.sock',
    '',
  ];
  return {
    paths,
    check: async () => {
      if (readFileSync(file, 'utf8') !== TEXT) throw new Error('a file was changed');
      if (existsSync(join(dir, 'nowhere'))) throw new Error('a socket was made behind a symbolic link');
      await listForwards(scene.api);
    },
  };
}

export const UNIX_PATH_ATTACKS: readonly Attack[] = [
  {
    name: 'unix sockets over files, directories, symbolic links and sockets of others',
    run: async (scene) => {
      const { paths, check } = traps(scene);
      const link = await scene.link();
      let granted = 0;
      let refused = 0;
      link.onPiece = ({ kind }) => {
        if (kind === 'claimed') granted++;
        if (kind === 'refused') refused++;
      };
      for (const [index, path] of paths.entries())
        link.send(controlFrame(pack({ type: 'claim', id: index + 1, spec: unixSpec(path, '/run/x.sock') })));
      await until('the answers', () => granted + refused === paths.length || link.ended);
      link.close();
      await check();
      if (granted > 0 || refused < paths.length)
        throw new Error(`${granted} were granted, ${refused} refused`);
      return `${refused} refused, all is as it was`;
    },
  },
];
