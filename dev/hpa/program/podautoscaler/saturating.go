package podautoscaler

import (
	"math"
	"math/big"

	"scalekit.test/hpa/podautoscaler/metrics"
)

// What differences.patch calls where upstream's sums, products and conversions wrap.

// saturatedInt64 takes NaN for 0.
func saturatedInt64(number float64) int64 {
	switch {
	case math.IsNaN(number):
		return 0
	case number >= math.MaxInt64:
		return math.MaxInt64
	case number <= math.MinInt64:
		return math.MinInt64
	default:
		return int64(number)
	}
}

func saturatedInt32(number float64) int32 { return saturatedCount(saturatedInt64(number)) }

func saturatedCount(number int64) int32 { return metrics.SaturatedInt32(number) }

func saturatedSum(values []int64) int64 {
	sum := new(big.Int)
	for _, value := range values {
		sum.Add(sum, big.NewInt(value))
	}
	return metrics.Saturated(sum)
}

func saturatedPercent(whole, percent int64) int64 {
	product := new(big.Int).Mul(big.NewInt(whole), big.NewInt(percent))
	return metrics.Saturated(product.Quo(product, big.NewInt(100)))
}

// saturatedShare is what each replica has of a total; of none it is 0.
func saturatedShare(total int64, replicas int32) int64 {
	if replicas == 0 {
		return 0
	}
	return saturatedInt64(math.Ceil(float64(total) / float64(replicas)))
}
