package scsi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// savedPage is the saved value of a mode page, as it is kept.
type savedPage struct {
	Code    byte   `json:"code"`
	Subpage byte   `json:"subpage"`
	Value   []byte `json:"value"`
}

// maxSavedPages bounds what is read; no device type has as many.
const maxSavedPages = 256

// savable tells whether the values of a page can be saved: those that can be changed, if there is
// anywhere to keep them. MODE SENSE says so in the PS bit (SPC-4 7.5.2).
func (u *Unit) savable(p *ModePage) bool {
	return u.cfg.Modes != nil && slices.ContainsFunc(p.Changeable, func(b byte) bool { return b != 0 })
}

// saveModes saves the current values of all pages that can be saved (MODE SELECT with SP, SPC-4
// 6.9). They are the saved values from then on.
func (u *Unit) saveModes(ctx context.Context) error {
	u.saving.Lock() // so that what is saved last is what is newest
	defer u.saving.Unlock()
	pages := []savedPage{}
	for _, p := range u.pages {
		if u.savable(p) {
			pages = append(pages, savedPage{p.Code, p.Subpage, p.value()})
		}
	}
	body, err := json.Marshal(pages)
	if err == nil {
		err = u.cfg.Modes.Save(ctx, body)
	}
	if err != nil {
		return fmt.Errorf("saving mode pages: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.useSaved(pages)
	return nil
}

// loadModes makes the saved values current, or the default values of pages without.
func (u *Unit) loadModes() error {
	var pages []savedPage
	if u.cfg.Modes != nil {
		body, err := u.cfg.Modes.Load()
		if err == nil && len(body) > 0 {
			pages, err = parseSavedPages(body)
		}
		if err != nil {
			return fmt.Errorf("loading mode pages: %w", err)
		}
	}
	u.useSaved(pages)
	for _, p := range u.pages {
		p.reset()
	}
	return nil
}

// useSaved sets the saved values of all pages. Of bits that cannot be changed (any more) it takes the
// default. The caller holds mu, or is alone.
func (u *Unit) useSaved(pages []savedPage) {
	for _, p := range u.pages {
		p.saved = slices.Clone(p.Default)
		for _, s := range pages {
			if s.Code != p.Code || s.Subpage != p.Subpage || len(s.Value) != len(p.Default) {
				continue
			}
			for i, mask := range p.Changeable {
				p.saved[i] = p.Default[i]&^mask | s.Value[i]&mask
			}
		}
	}
}

func parseSavedPages(body []byte) ([]savedPage, error) {
	var pages []savedPage
	if err := json.Unmarshal(body, &pages); err != nil {
		return nil, err
	}
	if len(pages) > maxSavedPages {
		return nil, fmt.Errorf("%d of them, which cannot be", len(pages))
	}
	return pages, nil
}
