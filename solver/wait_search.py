"""Most utility under a mean wait, with a bound: branch on the round time.

With T the realised round time, c_i the counts, C their sum and epsilon the budget, the wait
is kept exactly when the devices' own times add up to enough:

    sum_i c_i t_i  >=  C (T - epsilon).
"""

import heapq
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from solver.allocation import Allocation, round_time_s, shared, utility, cost_by_depth
from solver.capacity import exact
from solver.devices import Floats, Ints
from solver.dp import Band, completions
from solver.explain import least_round_time_s
from solver.problem import Problem
from solver.waits import limit_wait
from solver.wait_relax import Relaxed, under_deadline
from solver.wait_labels import best_ranks

GAP = 5e-10
import os
STAT={"int":0,"dp":0,"lab":0,"off":0}

@dataclass(slots=True)
class _Search:
    problem: Problem
    epsilon_s: float
    allocation: Allocation | None = None
    value: float = -1.0
    seen: set = field(default_factory=set)
    pool: list = field(default_factory=list)

    def offer(self, ranks, b):
        key = ranks.tobytes()
        if key in self.seen: return
        self.seen.add(key)
        STAT["off"]+=1
        self.offer_allocation(shared(self.problem, ranks))

    def offer_allocation(self, candidate):
        if (candidate.depth < self.problem.question.min_depth).any(): return
        kept = limit_wait(self.problem, candidate, self.epsilon_s)
        if kept is not None:
            u = utility(self.problem, kept)
            if u > self.value:
                self.allocation, self.value = kept, u
    @property
    def floor(self): return self.value*(1+GAP)


def kelley(s, rel, need, band):
    lines=[]
    if s.pool:
        rows=np.array(s.pool); gg,hh=rel.reached(rows)
        for r,g1,h1 in zip(s.pool,gg.tolist(),hh.tolist()):
            if g1>-np.inf and inband(rel,r,band): lines.append((g1,h1-need,r))
    def envelope():
        g=np.array([l[0] for l in lines]); h=np.array([l[1] for l in lines])
        if not (h>=0).any(): return None
        i=np.lexsort((h,g))[-1]
        p=0.0; cur=i
        while h[cur]<0:
            better=h>h[cur]
            x=np.where(better,(g[cur]-g)/np.where(better,h-h[cur],1),np.inf)
            nxt=int(np.argmin(x)); p=max(p,float(x[nxt])); cur=nxt
        return p, float((g+p*h).max())
    bound=np.inf; price=0.0; best=None
    E=None; md=s.problem.question.min_depth
    for it in range(30):
        e = envelope() if lines else None
        if e is None:
            trial = 0.0 if not lines else (price*8 if price>0 else max(l[0] for l in lines)/max(abs(min(l[1] for l in lines)),1e-9))
            if it>20: trial=price*1e3
        else: trial=e[0]
        table=rel.priced(trial,band); STAT["dp"]+=1
        v=table.flat[md:]
        if not v.size: return None
        d,at=divmod(int(v.argmax()),v.shape[1])
        if v[d,at]==-np.inf: return None
        val=float(v[d,at])-trial*need
        ends=v-trial*need
        E=ends if E is None else np.minimum(E,ends)
        eb=float(E.max())
        if val<bound: bound,best,price_b=val,table,trial
        price=trial
        if eb<=s.floor: return eb,bound,price_b,best,lines
        p_,b_=divmod(at,table.axes.width)
        r=table.backtrack(md+d,p_-table.axes.room,b_-table.axes.margin)
        gg,hh=rel.reached(r[None]); x=(float(gg[0]),float(hh[0]))
        if x[0]==-np.inf: break
        lines.append((x[0],x[1]-need,r)); s.pool.append(r)
        if e is not None and val<=e[1]+1e-12*abs(e[1]): break
        if e is None and x[1]-need<0 and it>8: return None
    s.pool=s.pool[-24:]
    return eb,bound,price_b,best,lines

def inband(rel,r,band):
    if band is None: return True
    K=int((r>0).sum()); S=np.cumsum(r*rel.capacity.steps)[:K]
    return bool(((S>=band.low[1:K+1])&(S<=band.high[1:K+1])).all())

def snap(problem, lines_s, band, m, low, high):
    """largest candidate <= m, smallest > m, in [low, high]"""
    return m, m


def search(problem: Problem, unlimited: Allocation, upper: float, epsilon_s: float):
    for k in STAT: STAT[k]=0
    s=_Search(problem,epsilon_s)
    s.offer_allocation(unlimited)
    start=least_round_time_s(problem); end=_longest_s(problem)
    if start is None: return s.allocation, upper
    order=count()
    if os.environ.get("FT"): start=end=float(os.environ["FT"])
    queue=[(-upper,next(order),start,end,None)]
    settled=0.0
    verbose=os.environ.get("WV")
    tries=int(os.environ.get("WT","400"))
    import time; t0=time.process_time()
    for n in range(tries):
        if not queue or -queue[0][0]<=s.floor: break
        ub,_,low,high,band=heapq.heappop(queue)
        STAT["int"]+=1
        rel=Relaxed.at(problem,high)
        if rel is None: continue
        need=rel.needed_s(low,epsilon_s)
        got=kelley(s,rel,need,band)
        if got is None: continue
        eb,lag,price,table,lines=got
        bound=min(eb,-ub)
        for g,h,r in lines[-8:]:
            if g>s.floor: s.offer(r,high)
        if bound<=s.floor: continue
        md=problem.question.min_depth
        back=completions(table,md)
        alive=table.flat+back-price*need>s.floor
        alive=alive.reshape(len(alive),-1,table.axes.width).any(axis=2)
        K=len(alive)
        lo=np.full(problem.layers+1,1<<40); hi=np.full(problem.layers+1,-1)
        some=alive.any(axis=1)
        lo[:K][some]=alive[some].argmax(axis=1)-table.axes.room
        hi[:K][some]=alive.shape[1]-1-alive[some][:,::-1].argmax(axis=1)-table.axes.room
        nb=Band(low=lo,high=hi)
        nalive=int(alive.sum())
        cut=None
        labelled=False
        if nalive< int(os.environ.get("WA","600")):
            STAT["lab"]+=1; labelled=True
            found=best_ranks(rel,table,back,price,need,s.floor)
            bound=min(bound,found.bound)
            if found.ranks is not None:
                s.offer(found.ranks,high)
                cut=found.ranks
        width=price*problem.costs.devices.count.sum()*(high-low)
        if verbose: print(f"{time.process_time()-t0:.2f} [{low:.9f},{high:.9f}] {(high-low)/high:.1e} lag {(lag-s.value)/s.value:.2e} eb {(eb-s.value)/s.value:.2e} bound {(bound-s.value)/s.value:.2e} wid {width/s.value:.1e} alive {nalive} S_L {lo[K-1]}-{hi[K-1]} q {len(queue)} {STAT}")
        if bound<=s.floor: continue
        if cut is None:
            pos=[l for l in lines if l[1]>=0]; neg=[l for l in lines if l[1]<0]
            if pos: r2=max(pos,key=lambda l:l[0]+price*l[1])[2]
            if neg: r1=max(neg,key=lambda l:l[0]+price*l[1])[2]
        byT = high>low and (cut is not None or not pos or not neg or (high-low)>float(os.environ.get("TW","7e-4"))*high or width>float(os.environ.get("WW","9"))*(bound-s.value)) if cut is None else True
        _unused = cut is not None or not pos or not neg or width>0.5*(bound-s.value) 
        split=None
        if not byT:
            S1=np.cumsum(r1*rel.capacity.steps); S2=np.cumsum(r2*rel.capacity.steps)
            gap=np.abs(S1-S2)*(r1>0)*(r2>0)
            k=int(gap.argmax())+1
            if gap[k-1]>0:
                at=(S1[k-1]+S2[k-1])//2
                split=(k,int(at))
        if split is None:
            if high-low<=1e-12*high: settled=max(settled,bound); continue
            mid=(low+high)/2
            if cut is not None:
                x=[float(v[0]) for v in rel.reached(cut[None])]
                t_ok=rel.round_time_s(x[1],epsilon_s)
                t_real=round_time_s(problem, shared_under(problem,cut,high))
                m=(t_ok+t_real)/2
                if low<m<high: mid=m
            heapq.heappush(queue,(-bound,next(order),low,mid,nb))
            heapq.heappush(queue,(-bound,next(order),mid,high,nb))
        else:
            k,at=split
            h2=hi.copy(); h2[k]=at; l2=lo.copy(); l2[k]=at+1
            heapq.heappush(queue,(-bound,next(order),low,high,Band(low=lo,high=h2)))
            heapq.heappush(queue,(-bound,next(order),low,high,Band(low=l2,high=hi)))
    bound=max(-queue[0][0] if queue else 0.0, settled, s.value)
    if verbose: print(STAT)
    return s.allocation, min(bound,upper) if s.allocation else upper

def shared_under(problem,ranks,b):
    from dataclasses import replace
    return shared(replace(problem,costs=under_deadline(problem.costs,b)),ranks)


def _longest_s(problem: Problem) -> float:
    """A round time that no plan passes: `unlimited` may well be shorter than the best one."""
    n, layers = len(problem.costs.devices), problem.layers
    everything = Allocation(
        rows=np.full((1, layers), problem.ranks[-1]),
        row=np.zeros(n, dtype=np.int64),
        depth=np.full(n, layers),
    )
    budget_s = problem.question.budgets.round_time_s
    longest_s = round_time_s(problem, everything)
    return longest_s if budget_s is None else min(longest_s, budget_s)
