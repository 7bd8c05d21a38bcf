package main

import (
	"time"

	"github.com/hibiken/asynq"
)

// options are those of a task. A nil pointer is an option that is not given.
type options struct {
	Queue     *string  `json:"queue"`
	TaskID    *string  `json:"task_id"`
	MaxRetry  *int     `json:"max_retry"`
	Timeout   *float64 `json:"timeout"`
	Deadline  *float64 `json:"deadline"`
	Unique    *float64 `json:"unique"`
	Retention *float64 `json:"retention"`
	Group     *string  `json:"group"`
	ProcessAt *float64 `json:"process_at"`
	ProcessIn *float64 `json:"process_in"`
}

func seconds(value float64) time.Duration {
	return time.Duration(value * float64(time.Second))
}

func instant(value float64) time.Time {
	return time.Unix(0, int64(value*1e9))
}

// unix is 0 for the zero time.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

func given[T any](list []asynq.Option, value *T, option func(T) asynq.Option) []asynq.Option {
	if value == nil {
		return list
	}
	return append(list, option(*value))
}

func inSeconds(option func(time.Duration) asynq.Option) func(float64) asynq.Option {
	return func(value float64) asynq.Option { return option(seconds(value)) }
}

func atInstant(option func(time.Time) asynq.Option) func(float64) asynq.Option {
	return func(value float64) asynq.Option { return option(instant(value)) }
}

func (o options) list() []asynq.Option {
	var list []asynq.Option
	list = given(list, o.Queue, asynq.Queue)
	list = given(list, o.TaskID, asynq.TaskID)
	list = given(list, o.MaxRetry, asynq.MaxRetry)
	list = given(list, o.Timeout, inSeconds(asynq.Timeout))
	list = given(list, o.Deadline, atInstant(asynq.Deadline))
	list = given(list, o.Unique, inSeconds(asynq.Unique))
	list = given(list, o.Retention, inSeconds(asynq.Retention))
	list = given(list, o.Group, asynq.Group)
	list = given(list, o.ProcessAt, atInstant(asynq.ProcessAt))
	return given(list, o.ProcessIn, inSeconds(asynq.ProcessIn))
}

func (p *peer) enqueue(r request) (any, error) {
	task := asynq.NewTaskWithHeaders(r.Type, r.Payload, r.Headers)
	info, err := p.client.Enqueue(task, r.Options.list()...)
	if err != nil {
		return nil, err
	}
	return shown(info), nil
}
