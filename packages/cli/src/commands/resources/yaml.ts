/** Resources as YAML. A module of its own, because only some commands need the library, and a bundle resolves its names at build time. */
import { stringify } from 'yaml';

/** Documents that can be applied again. */
export const asYaml = (items: readonly unknown[]): string =>
  items.map((item) => stringify(item, { lineWidth: 0, aliasDuplicateObjects: false })).join('---\n');
