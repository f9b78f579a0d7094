// What is inside a panel, drawn with Grafana's components.
import {
  DataFrame, FieldConfigSource, FieldDisplay, getDisplayValueAlignmentFactors, getFieldDisplayValues, TimeRange,
  VizOrientation,
} from '@grafana/data';
import type { Panel } from '@grafana/schema';
import { BarGauge, BigValue, TimeSeries, UPlotConfigBuilder, useTheme2, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { CSSProperties, useLayoutEffect } from 'react';

export interface Mark { time: number; color: string; title: string; text: string }
export interface Loaded { panel: Panel; frames: DataFrame[]; config: FieldConfigSource; error?: string }

interface Properties {
  loaded: Loaded;
  width: number;
  height: number;
  range: TimeRange;
  timeZone: string;
  marks: Mark[];
}

export function Contents(properties: Properties) {
  const { loaded, height } = properties;
  if (loaded.error || !loaded.frames.some(({ length }) => length > 0)) {
    return <Nothing height={height} text={loaded.error ?? loaded.config.defaults.noValue ?? 'No data'} />;
  }
  switch (loaded.panel.type) {
    case 'timeseries':
      return <Graph {...properties} />;
    case 'stat':
    case 'bargauge':
      return <Values {...properties} />;
    case 'table':
      return <Rows {...properties} />;
    default:
      return <Nothing height={height} text={`${loaded.panel.type} is not in the published packages`} />;
  }
}

function Nothing({ height, text }: { height: number; text: string }) {
  const { colors } = useTheme2();
  const style: CSSProperties = { display: 'grid', placeItems: 'center', height, color: colors.text.secondary };
  return <div style={{ ...style, textAlign: 'center' }}>{text}</div>;
}

function Graph({ loaded, width, height, range, timeZone, marks }: Properties) {
  const legend = (loaded.panel.options?.legend ?? { displayMode: 'list', placement: 'bottom', showLegend: true }) as never;
  return (
    <TimeSeries frames={loaded.frames} structureRev={1} {...{ width, height, timeZone, legend }} timeRange={range}>
      {(config) => <Marks config={config} marks={marks} />}
    </TimeSeries>
  );
}

/** Annotations: a dashed line with a foot. */
function Marks({ config, marks }: { config: UPlotConfigBuilder; marks: Mark[] }) {
  const theme = useTheme2();
  useLayoutEffect(() => {
    config.addHook('draw', ({ ctx, bbox, valToPos }) => {
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      const bottom = bbox.top + bbox.height;
      for (const mark of marks) {
        const x = valToPos(mark.time, 'x', true);
        ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(mark.color);
        ctx.lineWidth = 2;
        ctx.setLineDash([5, 5]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bottom);
        ctx.stroke();
        ctx.beginPath();
        ctx.moveTo(x - 6, bottom);
        ctx.lineTo(x + 6, bottom);
        ctx.lineTo(x, bottom - 8);
        ctx.fill();
      }
      ctx.restore();
    });
  }, [config, marks, theme]);
  return null;
}

function Values({ loaded, width, height, range, timeZone }: Properties) {
  const theme = useTheme2();
  const { panel, config, frames } = loaded;
  const options = panel.options ?? {};
  const big = panel.type === 'stat';
  const getValues = () =>
    getFieldDisplayValues({
      fieldConfig: config,
      reduceOptions: options.reduceOptions as never,
      replaceVariables: (text) => text,
      theme,
      data: frames,
      sparkline: big && options.graphMode !== 'none',
      timeZone,
    });
  return (
    <VizRepeater<FieldDisplay, never>
      {...{ getValues, width, height }}
      getAlignmentFactors={getDisplayValueAlignmentFactors as never}
      source={frames}
      renderCounter={0}
      orientation={(options.orientation as VizOrientation) ?? VizOrientation.Auto}
      autoGrid={big}
      itemSpacing={big ? 3 : 10}
      minVizWidth={options.minVizWidth as number}
      minVizHeight={options.minVizHeight as number}
      maxVizHeight={options.maxVizHeight as number}
      renderValue={({ value, width, height, orientation, alignmentFactors, count }) =>
        big ? (
          <BigValue
            {...{ theme, width, height, alignmentFactors, count }}
            value={value.display}
            sparkline={value.sparkline && { ...value.sparkline, timeRange: range }}
            colorMode={options.colorMode as never}
            graphMode={options.graphMode as never}
            justifyMode={options.justifyMode as never}
            textMode={options.textMode as never}
            text={options.text as never}
          />
        ) : (
          <BarGauge
            {...{ theme, width, height, orientation, alignmentFactors }}
            value={value.display}
            field={value.field}
            display={value.view?.getFieldDisplayProcessor(value.colIndex!)}
            displayMode={options.displayMode as never}
            valueDisplayMode={options.valueMode as never}
            namePlacement={options.namePlacement as never}
            showUnfilled={options.showUnfilled as boolean}
            itemSpacing={10}
          />
        )
      }
    />
  );
}

function Rows({ loaded, width, height, range }: Properties) {
  const { panel, frames, config } = loaded;
  return (
    <TableNG
      {...{ width, height }}
      data={frames[0]}
      fieldConfig={config}
      timeRange={range}
      structureRev={1}
      cellHeight={panel.options?.cellHeight as never}
      noHeader={panel.options?.showHeader === false}
      sortBy={panel.options?.sortBy as never}
    />
  );
}
