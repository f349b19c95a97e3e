package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/target/login"
)

// accessFormat is the version of access.json. This code refuses greater ones.
const accessFormat = 1

// accessFile is access.json. It holds secrets, so it is never logged, and its file has
// mode 0600.
type accessFile struct {
	Format  int                   `json:"format"`
	Volumes map[uuid.UUID]*ruling `json:"volumes"`
}

// ruling says who may log in to one volume. Initiator names are in the form of
// login.NormalizeName.
type ruling struct {
	Initiators []string               `json:"initiators,omitempty"`
	CHAP       map[string]credentials `json:"chap,omitempty"` // by initiator
}

// credentials are those of one initiator with one volume.
type credentials struct {
	User         string     `json:"user"`
	Secret       api.Secret `json:"secret"`
	MutualUser   string     `json:"mutual_user,omitempty"`
	MutualSecret api.Secret `json:"mutual_secret,omitempty"`
}

func (c credentials) login() *login.CHAP {
	return &login.CHAP{
		User: c.User, Secret: login.NewSecret(string(c.Secret)),
		MutualUser: c.MutualUser, MutualSecret: login.NewSecret(string(c.MutualSecret)),
	}
}

func (r *ruling) clone() *ruling {
	if r == nil {
		return &ruling{CHAP: map[string]credentials{}}
	}
	c := &ruling{Initiators: slices.Clone(r.Initiators), CHAP: maps.Clone(r.CHAP)}
	if c.CHAP == nil {
		c.CHAP = map[string]credentials{}
	}
	return c
}

// open tells that there are no rules: only initiators on this machine may log in.
func (r *ruling) open() bool { return r == nil || len(r.Initiators) == 0 && len(r.CHAP) == 0 }

// access keeps the rules of all volumes and their file the same. Its methods may be called
// concurrently.
type access struct {
	path string

	mu      sync.RWMutex
	volumes map[uuid.UUID]*ruling // each is replaced, never changed
}

// openAccess reads the file; a missing one means that no volume has rules.
func openAccess(path string) (*access, error) {
	a := &access{path: path, volumes: map[uuid.UUID]*ruling{}}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading access rules: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s holds secrets and has mode %04o, so others can read it: run chmod 600 %s, and change the secrets if they did", path, mode, path)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading access rules: %w", err)
	}
	file, err := decodeAccess(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	maps.Copy(a.volumes, file.Volumes)
	return a, nil
}

// decodeAccess never repeats what it read, since that holds secrets.
func decodeAccess(body []byte) (*accessFile, error) {
	var versioned struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(body, &versioned); err != nil || versioned.Format < 1 {
		return nil, errors.New("these are no access rules: put the file back from a copy, or remove it and set the rules again")
	}
	if versioned.Format > accessFormat {
		return nil, fmt.Errorf("format %d is newer than this sluice knows (%d): use a newer sluice", versioned.Format, accessFormat)
	}
	var file accessFile
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, errors.New("the access rules are damaged: put the file back from a copy, or remove it and set the rules again")
	}
	for id, r := range file.Volumes {
		if r == nil {
			return nil, fmt.Errorf("volume %s has no rules: put the file back from a copy, or remove the entry", id)
		}
		slices.Sort(r.Initiators) // somebody may have edited the file
	}
	return &file, nil
}

// of returns the rules of a volume, which must not be changed, or nil.
func (a *access) of(id uuid.UUID) *ruling {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.volumes[id]
}

// update changes the rules of a volume, on disk first. An error of change is returned as
// it is, and then nothing has changed.
func (a *access) update(id uuid.UUID, change func(*ruling) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.volumes[id].clone()
	if err := change(next); err != nil {
		return err
	}
	volumes := maps.Clone(a.volumes)
	volumes[id] = next
	if next.open() {
		delete(volumes, id)
	}
	body, err := json.MarshalIndent(accessFile{Format: accessFormat, Volumes: volumes}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding access rules: %w", err)
	}
	if err := replaceFile(a.path, append(body, '\n')); err != nil {
		return fmt.Errorf("writing access rules: %w", err)
	}
	a.volumes = volumes
	return nil
}

// forget drops the rules of a volume that is deleted.
func (a *access) forget(id uuid.UUID) error {
	if a.of(id).open() {
		return nil
	}
	return a.update(id, func(r *ruling) error { *r = ruling{}; return nil })
}

// show describes the rules without the secrets.
func (r *ruling) show() *api.Access {
	shown := &api.Access{Initiators: []string{}, CHAP: []api.CHAP{}}
	if r == nil {
		return shown
	}
	shown.Initiators = append(shown.Initiators, r.Initiators...)
	for initiator, c := range r.CHAP {
		shown.CHAP = append(shown.CHAP, api.CHAP{Initiator: initiator, User: c.User, MutualUser: c.MutualUser})
	}
	slices.SortFunc(shown.CHAP, func(a, b api.CHAP) int { return strings.Compare(a.Initiator, b.Initiator) })
	return shown
}

// allow puts an initiator on the access list.
func (r *ruling) allow(initiator string) {
	if at, found := slices.BinarySearch(r.Initiators, initiator); !found {
		r.Initiators = slices.Insert(r.Initiators, at, initiator)
	}
}

// deny takes an initiator off the access list, and reports whether it was there.
func (r *ruling) deny(initiator string) bool {
	at, found := slices.BinarySearch(r.Initiators, initiator)
	if found {
		r.Initiators = slices.Delete(r.Initiators, at, at+1)
	}
	return found
}
