/** Which part of the country an airport is in: the census regions, as two releases of a program know them. */
import { loadStates } from './data.ts';

const REGIONS: Readonly<Record<string, string>> = {
  Northeast: 'CT ME MA NH NJ NY PA RI VT',
  Midwest: 'IL IN IA KS MI MN MO NE ND OH SD WI',
  South: 'AL AR DC DE FL GA KY LA MD MS NC OK SC TN TX VA WV',
  West: 'AK AZ CA CO HI ID MT NV NM OR UT WA WY',
};

export type RegionOf = (airport: string) => string;

function regionsBy(table: Readonly<Record<string, string>>): RegionOf {
  const states = loadStates();
  const regions = new Map(
    Object.entries(table).flatMap(([region, list]) => list.split(' ').map((state) => [state, region] as const)),
  );
  return (airport) => {
    const state = states.get(airport) ?? 'nowhere';
    const region = regions.get(state);
    if (region === undefined) throw new Error(`no region for ${state}`);
    return region;
  };
}

/** The first release knows the fifty states. People fly from San Juan and Charlotte Amalie too. */
export const regionsOfRelease1 = regionsBy(REGIONS);
export const regionsOfRelease2 = regionsBy({ ...REGIONS, Territories: 'PR VI GU AS MP' });
