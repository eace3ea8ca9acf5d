// The controller of the original NestJS example. Only the interval was made configurable.
import { Controller, Sse } from "@nestjs/common";
import { interval, map } from "rxjs";

@Controller("events")
export class EventsController {
  @Sse("sse")
  sendEvents() {
    return interval(Number(process.env.INTERVAL_MS ?? 1000)).pipe(
      map((count: number) => ({
        data: `Message number: ${count}`,
      }))
    );
  }
}
