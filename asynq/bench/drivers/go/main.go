// Command bench drives Go asynq for `asynq bench`: `bench produce` or `bench work CONCURRENCY`.
//
// It finds the broker in ASYNQ_BENCH_BROKER. The producer answers each line `MODE COUNT` with a line of JSON. The
// worker writes to the named pipe ASYNQ_BENCH_REPORT: `mark COUNT TIME CPU` when the number of runs reaches one of
// ASYNQ_BENCH_MARKS, and `pickup SECONDS` for each payload that contains the time of its enqueue.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

const (
	taskType   = "bench:noop"
	size       = 100
	warmUp     = 20
	concurrent = 100
)

var (
	payload = []byte(strings.Repeat("x", size))
	began   = time.Now()
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func unix(t time.Time) float64 {
	return float64(t.UnixNano()) / 1e9
}

// producer enqueues tasks.
type producer struct {
	client *asynq.Client
}

func (p *producer) enqueue(content []byte) {
	_, err := p.client.Enqueue(asynq.NewTask(taskType, content))
	check(err)
}

func (p *producer) some(count int) {
	for range count {
		p.enqueue(payload)
	}
}

// spread enqueues from several goroutines at once.
func (p *producer) spread(count int) {
	var all sync.WaitGroup
	for range concurrent {
		all.Add(1)
		go func() {
			defer all.Done()
			p.some(count / concurrent)
		}()
	}
	all.Wait()
}

// timed is the number of seconds that a mode takes, after some calls that are not measured.
func (p *producer) timed(mode func(int), count int) float64 {
	p.some(warmUp)
	start := time.Now()
	mode(count)
	return time.Since(start).Seconds()
}

func (p *producer) now() {
	content := fmt.Sprintf("@%.6f ", unix(time.Now()))
	p.enqueue([]byte(content + strings.Repeat("x", size-len(content))))
}

func (p *producer) answer(mode string, count int) any {
	switch mode {
	case "one":
		return p.timed(p.some, count)
	case "concurrent":
		return p.timed(p.spread, count)
	case "fill":
		p.spread(count)
	case "now":
		p.now()
	}
	return nil
}

func write(value any) {
	line, err := json.Marshal(value)
	check(err)
	fmt.Println(string(line))
}

func produce(broker asynq.RedisConnOpt) {
	p := &producer{client: asynq.NewClient(broker)}
	write([]string{"concurrent", "fill", "now", "one"})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		mode, number, _ := strings.Cut(lines.Text(), " ")
		count, err := strconv.Atoi(number)
		check(err)
		write(p.answer(mode, count))
	}
}

// meter counts runs and reports some of them.
type meter struct {
	out   *os.File
	marks map[int64]bool
	runs  atomic.Int64
}

func newMeter() *meter {
	out, err := os.OpenFile(os.Getenv("ASYNQ_BENCH_REPORT"), os.O_WRONLY, 0)
	check(err)
	m := &meter{out: out, marks: map[int64]bool{}}
	for _, word := range strings.Fields(os.Getenv("ASYNQ_BENCH_MARKS")) {
		mark, err := strconv.ParseInt(word, 10, 64)
		check(err)
		m.marks[mark] = true
	}
	return m
}

func seconds(t syscall.Timeval) float64 {
	return float64(t.Sec) + float64(t.Usec)/1e6
}

func cpu() float64 {
	var used syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return seconds(used.Utime) + seconds(used.Stime)
}

func (m *meter) handle(_ context.Context, task *asynq.Task) error {
	content := string(task.Payload())
	if strings.HasPrefix(content, "@") {
		enqueued, err := strconv.ParseFloat(strings.Fields(content[1:])[0], 64)
		check(err)
		fmt.Fprintf(m.out, "pickup %.6f\n", unix(time.Now())-enqueued)
	} else if runs := m.runs.Add(1); m.marks[runs] {
		fmt.Fprintf(m.out, "mark %d %.9f %.6f\n", runs, time.Since(began).Seconds(), cpu())
	}
	return nil
}

func work(broker asynq.RedisConnOpt, concurrency int) {
	server := asynq.NewServer(broker, asynq.Config{Concurrency: concurrency, LogLevel: asynq.ErrorLevel})
	check(server.Run(asynq.HandlerFunc(newMeter().handle)))
}

func main() {
	broker, err := asynq.ParseRedisURI(os.Getenv("ASYNQ_BENCH_BROKER"))
	check(err)
	if os.Args[1] == "produce" {
		produce(broker)
		return
	}
	concurrency, err := strconv.Atoi(os.Args[2])
	check(err)
	work(broker, concurrency)
}
