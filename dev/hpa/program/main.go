// The program draws vectors of the HPA's decisions and answers them with Kubernetes' own code: see README.md.
//
//	program FOLDER COUNT SEED...
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"

	"scalekit.test/hpa/draw"
	"scalekit.test/hpa/podautoscaler"
	"scalekit.test/hpa/vector"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("hpa: ")
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(arguments []string) error {
	if len(arguments) < 3 {
		return fmt.Errorf("wanted: FOLDER COUNT SEED..., got %q", arguments)
	}
	folder := arguments[0]
	var numbers []int64
	for _, argument := range arguments[1:] {
		number, err := strconv.ParseInt(argument, 10, 64)
		if err != nil {
			return err
		}
		numbers = append(numbers, number)
	}
	count, seeds := int(numbers[0]), numbers[1:]
	total := 0
	for _, family := range draw.Families() {
		written, err := write(filepath.Join(folder, family.Name+".jsonl"), family, count, seeds)
		if err != nil {
			return err
		}
		fmt.Printf("%8d  %s\n", written, family.Name)
		total += written
	}
	fmt.Printf("%8d  of %d families\n", total, len(draw.Families()))
	return nil
}

// write draws a family's vectors into a file of its own, and says how many.
func write(path string, family draw.Family, count int, seeds []int64) (written int, err error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	buffer := bufio.NewWriter(file)
	lines := json.NewEncoder(buffer)
	for _, seed := range seeds {
		drawer := draw.New(source(family.Name, seed))
		var after *vector.After
		for i := range count {
			v := family.Draw(drawer, after)
			v.ID = fmt.Sprintf("%s/%d/%d", family.Name, seed, i)
			v.Expect, after = podautoscaler.Answer(v)
			if err := lines.Encode(v); err != nil {
				return written, err
			}
			written++
		}
	}
	return written, buffer.Flush()
}

// source is one of the family's own: what it draws stays what it is when another family comes or goes.
func source(family string, seed int64) *rand.Rand {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s/%d", family, seed)
	return rand.New(rand.NewSource(int64(hash.Sum64())))
}
