// Field options: Grafana's own list of them lives in its application, not in a package, so the same ids are
// registered here. What a dashboard uses and this list does not know is reported, not ignored.
import {
  applyFieldOverrides, booleanOverrideProcessor, cacheFieldDisplayNames, DataFrame, dataLinksOverrideProcessor,
  displayNameOverrideProcessor, Field, FieldConfigOptionsRegistry, FieldConfigPropertyItem, FieldConfigSource,
  FieldType, getValueFormats, GrafanaTheme2, identityOverrideProcessor, numberOverrideProcessor, standardTransformers,
  standardTransformersRegistry, thresholdsOverrideProcessor, transformDataFrame, unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import type { Panel } from '@grafana/schema';
import { lastValueFrom } from 'rxjs';

type Item = FieldConfigPropertyItem;

const GRAPH = [
  'axisBorderShow', 'axisCenteredZero', 'axisColorMode', 'axisGridShow', 'axisLabel', 'axisPlacement', 'axisSoftMax',
  'axisSoftMin', 'axisWidth', 'barAlignment', 'barMaxWidth', 'barWidthFactor', 'drawStyle', 'fillBelowTo', 'fillColor',
  'fillOpacity', 'gradientMode', 'hideFrom', 'insertNulls', 'lineColor', 'lineInterpolation', 'lineStyle', 'lineWidth',
  'pointColor', 'pointSize', 'pointSymbol', 'scaleDistribution', 'showPoints', 'showValues', 'spanNulls', 'stacking',
  'thresholdsStyle', 'transform',
];
const TABLE = [
  'align', 'cellOptions', 'displayMode', 'filterable', 'footer', 'hidden', 'inspect', 'minWidth', 'width',
  'wrapHeaderText', 'wrapText',
];

function item(id: string, process: Item['process'], more: Partial<Item> = {}): Item {
  const nothing = () => null;
  return { id, path: id, name: id, process, shouldApply: () => true, editor: nothing, override: nothing, ...more } as Item;
}

function custom(id: string, shouldApply: (field: Field) => boolean): Item {
  return item(`custom.${id}`, identityOverrideProcessor, { path: id, isCustom: true, shouldApply });
}

const registry = new FieldConfigOptionsRegistry(() => [
  item('unit', unitOverrideProcessor as Item['process']),
  ...['min', 'max', 'decimals'].map((id) => item(id, numberOverrideProcessor as Item['process'])),
  item('displayName', displayNameOverrideProcessor as Item['process']),
  item('thresholds', thresholdsOverrideProcessor as Item['process']),
  item('mappings', valueMappingsOverrideProcessor as Item['process']),
  item('links', dataLinksOverrideProcessor as Item['process']),
  item('fieldMinMax', booleanOverrideProcessor as Item['process']),
  ...['noValue', 'color', 'description', 'actions'].map((id) => item(id, identityOverrideProcessor)),
  // Options of a graph are for values, not for the time beside them.
  ...GRAPH.map((id) => custom(id, ({ type }) => type !== FieldType.time)),
  ...TABLE.map((id) => custom(id, () => true)),
]);

/** What Grafana's application takes where a dashboard says nothing. */
const DEFAULTS: Record<string, object> = {
  timeseries: {
    drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none',
    showPoints: 'auto', pointSize: 5, barAlignment: 0, spanNulls: false, stacking: { mode: 'none', group: 'A' },
    axisPlacement: 'auto', axisLabel: '', scaleDistribution: { type: 'linear' }, thresholdsStyle: { mode: 'off' },
    hideFrom: { legend: false, tooltip: false, viz: false },
  },
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
};

function withDefaults(panel: Panel): FieldConfigSource {
  const config = structuredClone(panel.fieldConfig ?? { defaults: {}, overrides: [] }) as FieldConfigSource;
  const { defaults } = config;
  defaults.custom = { ...DEFAULTS[panel.type], ...defaults.custom };
  defaults.thresholds ??= {
    mode: 'absolute' as never,
    steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }],
  };
  defaults.color ??= { mode: (panel.type === 'timeseries' ? 'palette-classic' : 'thresholds') as never };
  // JSON has no -Infinity: the first step is null there.
  for (const thresholds of [defaults.thresholds, ...values(config, 'thresholds')]) {
    thresholds.steps[0].value = -Infinity;
  }
  return config;
}

export interface Configured {
  frames: DataFrame[];
  config: FieldConfigSource;
  /** Options and units that a dashboard uses and nobody knows. */
  unknown: string[];
}

export function configure(panel: Panel, frames: DataFrame[], theme: GrafanaTheme2, timeZone: string): Configured {
  const config = withDefaults(panel);
  const used = [
    ...config.overrides.flatMap(({ properties }) => properties.map(({ id }) => id)),
    ...Object.keys(config.defaults.custom ?? {}).map((id) => `custom.${id}`),
  ];
  const configured = applyFieldOverrides({
    data: frames,
    fieldConfig: config,
    fieldConfigRegistry: registry,
    theme,
    timeZone,
    replaceVariables: (text) => text,
  });
  cacheFieldDisplayNames(configured); // the heads of tables read what this keeps
  const units = [config.defaults.unit, ...values(config, 'unit')].filter((unit) => unit && !UNITS.has(unit));
  const unknown = used.filter((id) => !registry.getIfExists(id));
  return { frames: configured, config, unknown: [...unknown, ...units.filter((unit) => !/^(prefix|suffix):/.test(unit))] };
}

/** Units are plain text to the types: one that is misspelled would be shown beside the number. */
const UNITS = new Set(getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value)));

function values(config: FieldConfigSource, wanted: string) {
  const properties = config.overrides.flatMap(({ properties }) => properties);
  return properties.filter(({ id }) => id === wanted).map(({ value }) => value);
}

// The registry refuses an id that is there twice, and the package's list has some twice.
const transformers = new Map(
  Object.values(standardTransformers).filter(({ operator }) => operator).map((transformer) => [transformer.id, transformer]),
);
standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    editor: () => null,
    transformation: async () => transformation,
    imageDark: '',
    imageLight: '',
  }) as never),
);

export async function transform(panel: Panel, frames: DataFrame[]): Promise<DataFrame[]> {
  const transformations = (panel.transformations ?? []).filter(({ disabled }) => !disabled);
  const strange = transformations.find(({ id }) => !standardTransformersRegistry.getIfExists(id));
  if (strange) {
    throw new Error(`no transformation ${strange.id} in @grafana/data`);
  }
  return transformations.length === 0 ? frames : lastValueFrom(transformDataFrame(transformations as never, frames));
}
