package main

import (
	"time"

	"github.com/hibiken/asynq"
)

type entry struct {
	ID      string   `json:"id"`
	Spec    string   `json:"spec"`
	Type    string   `json:"type"`
	Payload []byte   `json:"payload"`
	Options []string `json:"options"`
	Next    float64  `json:"next"`
	Prev    float64  `json:"prev"`
}

func (p *peer) schedule(r request) (any, error) {
	scheduler := p.scheduler
	if scheduler == nil {
		scheduler = asynq.NewScheduler(p.broker, &asynq.SchedulerOpts{HeartbeatInterval: time.Second})
	}
	task := asynq.NewTaskWithHeaders(r.Type, r.Payload, r.Headers)
	id, err := scheduler.Register(r.Spec, task, r.Options.list()...)
	if err != nil {
		return nil, err
	}
	if p.scheduler == nil {
		p.scheduler = scheduler
		return id, scheduler.Start()
	}
	return id, nil
}

func (p *peer) unschedule(r request) (any, error) {
	return nil, p.scheduler.Unregister(r.Entry)
}

func (p *peer) entries(request) (any, error) {
	found, err := p.inspector.SchedulerEntries()
	if err != nil {
		return nil, err
	}
	list := []entry{}
	for _, one := range found {
		texts := []string{}
		for _, option := range one.Opts {
			texts = append(texts, option.String())
		}
		list = append(list, entry{
			ID: one.ID, Spec: one.Spec, Type: one.Task.Type(), Payload: one.Task.Payload(),
			Options: texts, Next: unix(one.Next), Prev: unix(one.Prev),
		})
	}
	return list, nil
}

func (p *peer) events(r request) (any, error) {
	found, err := p.inspector.ListSchedulerEnqueueEvents(r.Entry, asynq.PageSize(1000))
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, one := range found {
		ids = append(ids, one.TaskID)
	}
	return ids, nil
}
