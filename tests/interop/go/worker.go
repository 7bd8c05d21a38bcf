package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hibiken/asynq"
)

type workerSettings struct {
	Queues      map[string]int `json:"queues"`
	Concurrency int            `json:"concurrency"`
	RetryDelay  float64        `json:"retry_delay"`
	Aggregate   bool           `json:"aggregate"`
	GroupGrace  float64        `json:"group_grace"`
	GroupSize   int            `json:"group_size"`
	Shutdown    float64        `json:"shutdown"`
}

// event is written when a run begins, and when one that waits is told to end.
type event struct {
	Event    string            `json:"event"`
	Task     string            `json:"task"`
	Type     string            `json:"type"`
	Payload  []byte            `json:"payload"`
	Headers  map[string]string `json:"headers"`
	Queue    string            `json:"queue"`
	Retried  int               `json:"retried"`
	MaxRetry int               `json:"max_retry"`
	Deadline float64           `json:"deadline"`
	At       float64           `json:"at"`
}

func (p *peer) serve(r request) (any, error) {
	w := r.Worker
	config := asynq.Config{
		Concurrency:              w.Concurrency,
		Queues:                   w.Queues,
		TaskCheckInterval:        200 * time.Millisecond,
		DelayedTaskCheckInterval: time.Second,
		JanitorInterval:          time.Second,
		ShutdownTimeout:          seconds(w.Shutdown),
		GroupMaxSize:             w.GroupSize,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration {
			return seconds(w.RetryDelay)
		},
	}
	if w.Aggregate {
		config.GroupGracePeriod = seconds(w.GroupGrace)
		config.GroupAggregator = asynq.GroupAggregatorFunc(aggregate)
	}
	p.server = asynq.NewServer(p.broker, config)
	return nil, p.server.Start(asynq.HandlerFunc(p.handle))
}

// aggregate makes one task of a group, whose payload is the group's name and the payloads.
func aggregate(group string, tasks []*asynq.Task) *asynq.Task {
	payloads := [][]byte{[]byte(group)}
	for _, task := range tasks {
		payloads = append(payloads, task.Payload())
	}
	return asynq.NewTask("ok:aggregated", bytes.Join(payloads, []byte("|")))
}

func (p *peer) release(request) (any, error) {
	close(p.released)
	return nil, nil
}

func (p *peer) stop(request) (any, error) {
	if p.server != nil {
		p.server.Shutdown()
		p.server = nil
	}
	if p.scheduler != nil {
		p.scheduler.Shutdown()
		p.scheduler = nil
	}
	return nil, nil
}

// handle does what the task's type says before its first colon.
func (p *peer) handle(ctx context.Context, task *asynq.Task) error {
	run := event{Event: "run", Type: task.Type(), Payload: task.Payload(), Headers: task.Headers()}
	run.At = unix(time.Now())
	run.Task, _ = asynq.GetTaskID(ctx)
	run.Queue, _ = asynq.GetQueueName(ctx)
	run.Retried, _ = asynq.GetRetryCount(ctx)
	run.MaxRetry, _ = asynq.GetMaxRetry(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		run.Deadline = unix(deadline)
	}
	write(run)
	behaviour, _, _ := strings.Cut(task.Type(), ":")
	switch behaviour {
	case "fail":
		return errors.New(string(task.Payload()))
	case "skip":
		return fmt.Errorf("%s: %w", task.Payload(), asynq.SkipRetry)
	case "revoke":
		return fmt.Errorf("%s: %w", task.Payload(), asynq.RevokeTask)
	case "result":
		_, err := task.ResultWriter().Write(task.Payload())
		return err
	case "nap":
		time.Sleep(10 * time.Millisecond)
	case "hold":
		select {
		case <-p.released:
		case <-ctx.Done():
			run.Event = "told to end"
			write(run)
			return ctx.Err()
		}
	}
	return nil
}
