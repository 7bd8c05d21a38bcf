// Command interop is a Go asynq client, worker, scheduler and inspector that tests drive.
//
// It takes the URL of a broker, redis://... or redis-cluster://host:port,... as its argument. It reads requests
// as lines of JSON on standard input, and writes a reply to each, and an event for each run of a task, to
// standard output. Bytes are in base64, instants are Unix seconds, and durations are seconds. It ends when its
// input ends.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/hibiken/asynq"
)

// request is one line of input. Each operation uses some of the fields.
type request struct {
	Number  int               `json:"number"`
	Op      string            `json:"op"`
	Type    string            `json:"type"`
	Payload []byte            `json:"payload"`
	Headers map[string]string `json:"headers"`
	Options options           `json:"options"`
	Worker  workerSettings    `json:"worker"`
	Queue   string            `json:"queue"`
	Task    string            `json:"task"`
	State   string            `json:"state"`
	Group   string            `json:"group"`
	Spec    string            `json:"spec"`
	Entry   string            `json:"entry"`
	Force   bool              `json:"force"`
}

// reply is the output for one request.
type reply struct {
	Number int    `json:"number"`
	Value  any    `json:"value"`
	Error  string `json:"error,omitempty"`
	Kind   string `json:"kind,omitempty"`
}

// peer is everything that this process has open.
type peer struct {
	broker    asynq.RedisConnOpt
	client    *asynq.Client
	inspector *asynq.Inspector
	server    *asynq.Server
	scheduler *asynq.Scheduler
	released  chan struct{}
}

var output sync.Mutex

// write puts a value on a line of its own, whole even if several goroutines write or the process is killed.
func write(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot encode a line:", err)
		os.Exit(1)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

var kinds = map[error]string{
	asynq.ErrDuplicateTask:  "duplicate",
	asynq.ErrTaskIDConflict: "conflict",
	asynq.ErrQueueNotFound:  "queue not found",
	asynq.ErrQueueNotEmpty:  "queue not empty",
	asynq.ErrTaskNotFound:   "task not found",
}

func kind(err error) string {
	for known, name := range kinds {
		if errors.Is(err, known) {
			return name
		}
	}
	return "other"
}

func brokerAt(url string) (asynq.RedisConnOpt, error) {
	if addresses, ok := strings.CutPrefix(url, "redis-cluster://"); ok {
		return asynq.RedisClusterClientOpt{Addrs: strings.Split(addresses, ",")}, nil
	}
	return asynq.ParseRedisURI(url)
}

func (p *peer) answer(r request) (any, error) {
	if do, ok := operations[r.Op]; ok {
		return do(p, r)
	}
	return nil, fmt.Errorf("unknown operation %q", r.Op)
}

var operations = map[string]func(*peer, request) (any, error){
	"enqueue":      (*peer).enqueue,
	"serve":        (*peer).serve,
	"release":      (*peer).release,
	"stop":         (*peer).stop,
	"schedule":     (*peer).schedule,
	"unschedule":   (*peer).unschedule,
	"queues":       (*peer).queues,
	"queue":        (*peer).queue,
	"groups":       (*peer).groups,
	"task":         (*peer).task,
	"tasks":        (*peer).tasks,
	"run":          one((*asynq.Inspector).RunTask),
	"archive":      one((*asynq.Inspector).ArchiveTask),
	"delete":       one((*asynq.Inspector).DeleteTask),
	"update":       (*peer).update,
	"run all":      all(runAll, runAllOfGroup),
	"archive all":  all(archiveAll, archiveAllOfGroup),
	"delete all":   all(deleteAll, deleteAllOfGroup),
	"pause":        (*peer).pause,
	"unpause":      (*peer).unpause,
	"delete queue": (*peer).deleteQueue,
	"cancel":       (*peer).cancel,
	"sync":         (*peer).sync,
	"servers":      (*peer).servers,
	"entries":      (*peer).entries,
	"events":       (*peer).events,
}

// sync does nothing: its reply comes after all events before it.
func (p *peer) sync(request) (any, error) {
	return nil, nil
}

func main() {
	broker, err := brokerAt(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p := &peer{
		broker:    broker,
		client:    asynq.NewClient(broker),
		inspector: asynq.NewInspector(broker),
		released:  make(chan struct{}),
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, "cannot decode a line:", err)
			os.Exit(1)
		}
		value, err := p.answer(r)
		answer := reply{Number: r.Number, Value: value}
		if err != nil {
			answer = reply{Number: r.Number, Error: err.Error(), Kind: kind(err)}
		}
		write(answer)
	}
	p.stop(request{})
}
