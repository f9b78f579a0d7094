// Package metrics is upstream's, changed by differences.patch; this file is what the patch calls.
package metrics

import (
	"math"
	"math/big"
)

// Saturated is a number, or the end of the range that it lies beyond.
func Saturated(number *big.Int) int64 {
	switch {
	case number.IsInt64():
		return number.Int64()
	case number.Sign() < 0:
		return math.MinInt64
	default:
		return math.MaxInt64
	}
}

// SaturatedInt32 is the same for a count or a percentage.
func SaturatedInt32(number int64) int32 {
	return int32(max(math.MinInt32, min(math.MaxInt32, number)))
}

// quotient is truncated, as every division of integers is.
func quotient(dividend, divisor *big.Int) int64 {
	return Saturated(new(big.Int).Quo(dividend, divisor))
}
